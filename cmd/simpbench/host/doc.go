// Package host starts the servers that are measured, as processes of their
// own on processors of their own, and reads what they cost from the kernel's
// accounts: processor time from the process clock, memory from /proc. It ends
// the processes that it started and no others. It works on Linux only.
package host
