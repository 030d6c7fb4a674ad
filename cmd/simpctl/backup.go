package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"simpd/cluster/api/backup"
	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

// restorePiece is the number of octets of a file sent at once.
const restorePiece = 256 << 10

func (a *app) backupCommand() *cobra.Command {
	var empty bool
	inspect := &cobra.Command{
		Use: "inspect FILE|-", Short: "Check a backup, and say what it holds", Args: cli.ArgumentCount(1, 1, "a file"),
		Long: "Inspect reads a backup to its end, checks that it is whole, and says what it holds. It needs no node.",
		RunE: func(c *cobra.Command, args []string) error { return a.inspectBackup(c.Context(), args[0]) },
	}
	c := &cobra.Command{
		Use: "backup FILE|-", Short: "Write accounts, rules, contacts, invitations, blocks and reports to a file", Args: cli.ArgumentCount(1, 1, "a file to write, - for standard output, or: inspect FILE"),
		Long: "Backup writes the accounts, rules, contacts, invitations, operators' blocks and reports of the site to a file, or to standard output if FILE is -, as they " +
			"are at one moment, while the site works. An existing file is not overwritten. The backup contains password " +
			"verifiers, but no passwords: keep it safe.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			if args[0] == "-" {
				return a.backupToOutput(c.Context(), s, empty)
			}
			return a.writeBackup(c.Context(), s, args[0], empty)
		},
	}
	c.Flags().BoolVar(&empty, "allow-empty", false, "make the backup even if the site has no accounts")
	c.AddCommand(inspect)
	return c
}

// writeBackup writes beside the file first: it is there whole, or not at all.
func (a *app) writeBackup(ctx context.Context, s *site, name string, allowEmpty bool) error {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s already exists; name another file", name)
	}
	part, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	defer part.Close()
	contents, err := a.fetchChecked(ctx, s, part, allowEmpty)
	if err != nil {
		return err
	}
	if err := errors.Join(part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := renameComplete(part.Name(), name); err != nil {
		return err
	}
	return a.writeError(a.printContents(name+" is written: ", contents))
}

// renameComplete gives a complete file its name, unless a file has that name already.
// Where the file system has no hard links the name is reserved first.
func renameComplete(part, name string) error {
	err := os.Link(part, name)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	reserved, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(reserved.Close(), os.Rename(part, name)); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// backupToOutput writes the backup to standard output, once it is complete and
// checked.
func (a *app) backupToOutput(ctx context.Context, s *site, allowEmpty bool) error {
	if a.term.isTerminal(a.out) {
		return cli.UsageErrorf("a backup is not text: redirect standard output to a file or a program")
	}
	whole, err := os.CreateTemp("", "simpctl-backup-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(whole.Name())
	defer whole.Close()
	if _, err := a.fetchChecked(ctx, s, whole, allowEmpty); err != nil {
		return err
	}
	if _, err := whole.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(a.out, whole)
	return err
}

// fetchChecked writes the backup to f, and reads it to its end.
func (a *app) fetchChecked(ctx context.Context, s *site, f *os.File, allowEmpty bool) (backup.Contents, error) {
	if err := a.receiveBackup(ctx, s, f, allowEmpty); err != nil {
		return backup.Contents{}, err
	}
	return inspectFile(f)
}

// openBackup opens a backup, or copies standard input to a file if name is "-":
// a backup is read twice. close removes the copy.
func (a *app) openBackup(ctx context.Context, name string) (f *os.File, title string, close func(), err error) {
	if name != "-" {
		f, err = os.Open(name)
		return f, name, func() { _ = f.Close() }, err
	}
	f, err = os.CreateTemp("", "simpctl-restore-*") // mode 0600
	if err != nil {
		return nil, "", nil, err
	}
	close = func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }
	if _, err = io.Copy(f, cli.Reader(ctx, a.in)); err != nil {
		close()
		return nil, "", nil, fmt.Errorf("reading standard input: %w", err)
	}
	return f, "standard input", close, nil
}

// receiveBackup writes the pieces as they come.
func (a *app) receiveBackup(ctx context.Context, s *site, w io.Writer, allowEmpty bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.cluster.Backup(ctx, &simpv1.BackupRequest{AllowEmpty: allowEmpty})
	if err != nil {
		return err
	}
	bar := a.newBar("octets", 0)
	defer bar.erase()
	for offset := uint64(0); ; {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if piece.Offset != offset || piece.Crc32C != backup.Sum(piece.Data) {
			return fmt.Errorf("the piece at octet %d arrived damaged; try again", offset)
		}
		if _, err := w.Write(piece.Data); err != nil {
			return err
		}
		offset += uint64(len(piece.Data))
		bar.set(offset)
	}
}

func (a *app) inspectBackup(ctx context.Context, name string) error {
	f, title, close, err := a.openBackup(ctx, name)
	if err != nil {
		return err
	}
	defer close()
	contents, err := inspectFile(f)
	if err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	return a.printContents(title+" is sound: ", contents)
}

func inspectFile(f *os.File) (backup.Contents, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return backup.Contents{}, err
	}
	return backup.Inspect(f)
}

func (a *app) printContents(before string, c backup.Contents) error {
	if a.printsJSON() {
		return a.printStruct(contentsJSON(c))
	}
	groups := ""
	if c.Groups > 0 {
		groups = ", " + pluralize(c.Groups, "contact group")
	}
	_, err := fmt.Fprintf(a.out, "%s%s (%d disabled), %s, %s, %s, %s, %s, as of history %s, index %d\n", cli.Escape(before),
		pluralize(c.Accounts, "account"), c.Disabled, pluralize(c.Rules, "rule"), pluralize(c.Contacts, "contact"),
		pluralize(c.Invitations, "invitation"), pluralize(c.Blocks, "block"), pluralize(c.Reports, "report")+groups, cli.Escape(c.History), c.Index)
	return err
}

// contentsJSON is a backup's contents as scripts see them; the large numbers
// are strings, as in all messages.
type contentsJSON struct {
	History  string `json:"history"`
	Index    uint64 `json:"index,string"`
	Accounts uint64 `json:"accounts,string"`
	Disabled uint64 `json:"disabled,string"`
	Rules    uint64 `json:"rules,string"`
	Contacts uint64 `json:"contacts,string"`

	Invitations uint64 `json:"invitations,string"`
	Blocks      uint64 `json:"blocks,string"`
	Groups      uint64 `json:"groups,string"`
	Reports     uint64 `json:"reports,string"`
}

func (a *app) restoreCommand() *cobra.Command {
	var yes, empty bool
	c := &cobra.Command{
		Use: "restore FILE|-", Short: "Replace accounts, rules, contacts, invitations, blocks and reports by a backup's", Args: cli.ArgumentCount(1, 1, "a backup"),
		Long: "Restore replaces all accounts, rules, contacts, invitations, operators' blocks and reports of the site by a backup's, and begins a new history: all " +
			"users have to connect anew, and programs that watch begin anew. The file is checked before anything is changed.",
		RunE: func(c *cobra.Command, args []string) error {
			f, title, close, err := a.openBackup(c.Context(), args[0])
			if err != nil {
				return err
			}
			defer close()
			return a.restoreBackup(c.Context(), f, title, yes, empty)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&empty, "allow-empty", false, "restore the backup even if it holds no accounts")
	return c
}

func (a *app) restoreBackup(ctx context.Context, f *os.File, title string, yes, allowEmpty bool) error {
	contents, err := inspectFile(f)
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was changed", title, err)
	}
	if contents.Accounts == 0 && !allowEmpty {
		return fmt.Errorf("%s holds no accounts, and would empty the site; nothing was changed (--allow-empty restores it)", title)
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("all accounts of the site will be replaced by the %d of %s, and all connections end", contents.Accounts, title)
	if err := a.confirmDestructive(ctx, yes, what); err != nil {
		return err
	}
	resp, err := a.uploadBackup(ctx, s, f, allowEmpty)
	if err != nil {
		return err
	}
	return a.printSentence(resp, "restored: %s, %s, %s, %s, %s, %s; the history is now %s", pluralize(resp.Accounts, "account"),
		pluralize(resp.Rules, "rule"), pluralize(resp.Contacts, "contact"), pluralize(resp.Invitations, "invitation"), pluralize(resp.Blocks, "block"), pluralize(resp.Reports, "report"), resp.Position.GetHistory())
}

// uploadBackup sends the file in pieces.
func (a *app) uploadBackup(ctx context.Context, s *site, f *os.File, allowEmpty bool) (*simpv1.RestoreResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	stream, err := s.cluster.Restore(ctx)
	if err != nil {
		return nil, err
	}
	bar := a.newBar("octets", uint64(info.Size()))
	defer bar.erase()
	if err := sendPieces(stream, f, bar, allowEmpty); err != nil {
		return nil, err
	}
	return stream.CloseAndRecv()
}

// sendPieces sends a file to its end, or until the stream fails: why, its
// answer says.
func sendPieces(stream grpc.ClientStreamingClient[simpv1.RestoreRequest, simpv1.RestoreResponse], f io.Reader, bar *bar, allowEmpty bool) error {
	buf := make([]byte, restorePiece)
	for offset := uint64(0); ; {
		n, err := io.ReadFull(f, buf)
		if n > 0 && stream.Send(&simpv1.RestoreRequest{Offset: offset, Data: buf[:n], Crc32C: backup.Sum(buf[:n]), AllowEmpty: allowEmpty}) != nil {
			return nil
		}
		offset += uint64(n)
		bar.set(offset)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
