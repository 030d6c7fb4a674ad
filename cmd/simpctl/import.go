package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

const importLong = `Import makes accounts from a file, or from standard input if FILE is "-". Each
line is IMA,PASSWORD: the password is everything after the comma that follows
the address. Empty lines are ignored.

The whole file is checked first, and nothing is imported if anything in it is
wrong. An address that has an account gets the new password, and its
connections are closed unless its password is the same already, so that the
command is safe to run again. Passwords are hashed here, and do not leave this machine.

A new address that looks like an existing account of its domain is left out and
reported, unless --allow-lookalike is given; the exit status is 1 then.`

// importBatch is the number of accounts sent at once.
const importBatch = 200

func (a *app) accountImport() *cobra.Command {
	var lookalike bool
	c := &cobra.Command{
		Use: "import FILE|-", Short: "Create many accounts, or give them new passwords", Long: importLong,
		Args: cli.ArgumentCount(1, 1, "a file, or - for standard input"),
		RunE: func(c *cobra.Command, args []string) error {
			name, rows, err := a.readImport(c.Context(), args[0])
			if err != nil {
				return err
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			i := &importer{app: a, site: s, rows: rows, file: name, lookalike: lookalike}
			return i.importAll(c.Context())
		},
	}
	lookalikeFlag(c, &lookalike)
	return c
}

// importRow is one line of the file.
type importRow struct {
	line          int
	ima, password string
}

// readImport returns the rows, and the file's name for people.
func (a *app) readImport(ctx context.Context, file string) (name string, rows []importRow, err error) {
	if file == "-" {
		name = "standard input"
		rows, err = parseImport(name, cli.Reader(ctx, a.in))
		return name, rows, err
	}
	f, err := os.Open(file)
	if err != nil {
		return file, nil, err
	}
	defer f.Close()
	rows, err = parseImport(file, f)
	return file, rows, err
}

// maxImportLine limits the octets of a line.
const maxImportLine = 64 << 10

// maxProblems of a file are told at once.
const maxProblems = 10

// parseImport reads all lines, or says what is wrong with them.
func parseImport(name string, r io.Reader) (rows []importRow, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxImportLine)
	var problems []string
	seen := map[string]int{}
	n := 1
	for ; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\uFEFF")
		}
		if line == "" {
			continue
		}
		row, problem := parseRow(n, line, seen)
		if problem != "" && len(problems) < maxProblems {
			problems = append(problems, fmt.Sprintf("%s:%d: %s", name, n, problem))
		}
		rows = append(rows, row)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%s:%d: the line has more than %d octets; nothing was imported", name, n, maxImportLine)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(rows) == 0:
		return nil, fmt.Errorf("%s contains no accounts; nothing was imported", name)
	}
	return rows, listProblems(problems)
}

// listProblems is an error that shows each problem in a line of its own.
func listProblems(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return newLinesError(append(problems, "nothing was imported")...)
}

func parseRow(n int, line string, seen map[string]int) (row importRow, problem string) {
	comma := endOfAddress(line)
	if comma < 0 {
		return row, "the line must be IMA,PASSWORD, and has no comma after the address"
	}
	user, err := parseUser(line[:comma])
	row = importRow{n, user, line[comma+1:]}
	switch {
	case err != nil:
		return row, err.Error()
	case seen[user] > 0:
		return row, fmt.Sprintf("%s is already in line %d", user, seen[user])
	}
	if err := protocol.CheckPassword(row.password); err != nil {
		return row, withoutStatus(err).Error()
	}
	seen[user] = n
	return row, ""
}

// endOfAddress returns where the comma is that follows the address; one in a
// quoted local part is part of it.
func endOfAddress(line string) int {
	start := 0
	if strings.HasPrefix(line, `"`) {
		for start = 1; start < len(line) && line[start] != '"'; start++ {
			if line[start] == '\\' {
				start++
			}
		}
		start = min(start, len(line))
	}
	if i := strings.IndexByte(line[start:], ','); i >= 0 {
		return start + i
	}
	return -1
}

// importer is one import under way.
type importer struct {
	app  *app
	site *site
	rows []importRow
	file string

	lookalike bool // import also names that look like existing ones
}

func (i *importer) importAll(ctx context.Context) error {
	if _, err := i.streamBatches(ctx, true, i.namesOnly); err != nil {
		return err
	}
	bar := i.app.newBar("importing", uint64(len(i.rows)))
	resp, err := i.streamBatches(ctx, false, func(ctx context.Context, rows []importRow) ([]*simpv1.ImportedAccount, error) {
		list, err := i.withVerifiers(ctx, rows)
		bar.add(uint64(len(rows)))
		return list, err
	})
	bar.erase()
	if err != nil {
		return fmt.Errorf("%w; what was imported so far stays, and it is safe to run this again", err)
	}
	if err := i.app.printSentence(resp, "%s: %d created, %d with a new password, %d unchanged",
		pluralize(uint64(len(i.rows)), "account"), resp.Created, resp.Replaced, resp.Unchanged); err != nil {
		return err
	}
	return i.leftOut(resp)
}

// leftOut is an error that names the accounts that were not imported, as they
// look like others.
func (i *importer) leftOut(resp *simpv1.ImportAccountsResponse) error {
	if resp.Lookalikes == 0 {
		return nil
	}
	var lines []string
	for _, l := range resp.Lookalike[:min(len(resp.Lookalike), maxProblems)] {
		lines = append(lines, fmt.Sprintf("%s: %s looks like the existing account %s", i.lineOf(fmt.Sprintf("account[%d]", l.Account)), l.Ima, l.Like))
	}
	lines = append(lines, fmt.Sprintf("%s left out; import with --allow-lookalike if all of these are right", pluralize(resp.Lookalikes, "account")))
	return newLinesError(lines...)
}

// streamBatches sends the rows in batches, as prepare makes them.
func (i *importer) streamBatches(ctx context.Context, check bool, prepare func(context.Context, []importRow) ([]*simpv1.ImportedAccount, error)) (*simpv1.ImportAccountsResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := i.site.accounts.Import(ctx)
	if err != nil {
		return nil, err
	}
	sent := 0
	for ; sent < len(i.rows); sent += importBatch {
		rows := i.rows[sent:min(sent+importBatch, len(i.rows))]
		list, err := prepare(ctx, rows)
		if err != nil {
			return nil, err
		}
		// Sending into a stream that has failed is io.EOF: its error comes below.
		if err := stream.Send(&simpv1.ImportAccountsRequest{Account: list, Check: check, AllowLookalike: i.lookalike}); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if stream.Context().Err() != nil {
			break
		}
	}
	resp, err := stream.CloseAndRecv()
	if err != nil && check {
		return nil, i.explainRefusal(err)
	}
	return resp, err
}

func (i *importer) namesOnly(_ context.Context, rows []importRow) ([]*simpv1.ImportedAccount, error) {
	list := make([]*simpv1.ImportedAccount, len(rows))
	for n, row := range rows {
		list[n] = &simpv1.ImportedAccount{Ima: row.ima}
	}
	return list, nil
}

// withVerifiers makes the verifiers on all processors.
func (i *importer) withVerifiers(ctx context.Context, rows []importRow) ([]*simpv1.ImportedAccount, error) {
	list := make([]*simpv1.ImportedAccount, len(rows))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for n, row := range rows {
		group.Go(func() error {
			credential, err := i.credentialFor(ctx, row)
			list[n] = &simpv1.ImportedAccount{Ima: row.ima, Credential: credential}
			return err
		})
	}
	return list, group.Wait()
}

// credentialFor hashes with the salt that a known account has: so the site sees
// when the password is the same, and leaves the user's connections alone.
func (i *importer) credentialFor(ctx context.Context, row importRow) (*simpv1.Credential, error) {
	salt, iterations := []byte(nil), protocol.ScramIterations
	resp, err := unaryCall(ctx, i.site.accounts.Get, &simpv1.GetAccountRequest{Ima: row.ima})
	switch {
	case status.Code(err) == codes.NotFound:
	case err != nil:
		return nil, err
	case int(resp.Account.GetIterations()) >= iterations:
		salt, iterations = resp.Account.Salt, int(resp.Account.Iterations)
	}
	if len(salt) < protocol.ScramSaltOctets {
		salt = bytes.Repeat([]byte{0}, protocol.ScramSaltOctets)
		rand.Read(salt)
	}
	return scramVerifier(row.password, salt, iterations)
}

// explainRefusal tells which lines the site does not take.
func (i *importer) explainRefusal(err error) error {
	var problems []string
	for _, d := range status.Convert(err).Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.FieldViolations {
			problems = append(problems, fmt.Sprintf("%s: %s", i.lineOf(v.Field), v.Description))
		}
	}
	if len(problems) == 0 {
		return err
	}
	return listProblems(problems)
}

// lineOf is the line that account[N] of an import stands for.
func (i *importer) lineOf(field string) string {
	_, rest, _ := strings.Cut(field, "[")
	digits, _, _ := strings.Cut(rest, "]")
	n, err := strconv.Atoi(digits)
	if err != nil || n >= len(i.rows) {
		return i.file
	}
	return fmt.Sprintf("%s:%d", i.file, i.rows[n].line)
}
