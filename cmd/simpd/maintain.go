package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cluster"
	"simpd/cluster/storage"
	"simpd/cmd/internal/cli"
)

// wipeCommand, compactCommand and recoverCommand are for a node that does not
// run: what they work on is its data folder.
func wipeCommand() *cobra.Command {
	var dir string
	var yes bool
	c := &cobra.Command{
		Use:   "wipe --data-dir DIR --yes",
		Short: "remove the data of a stopped node, so that it can join as new",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case dir == "":
				return errNoDataDir
			case !yes:
				return fmt.Errorf("wipe permanently removes all data of the node in %s: confirm with --yes", dir)
			}
			dir, err := openData(dir)
			if err == nil {
				err = storage.Wipe(dir)
			}
			if err != nil {
				return cli.Failed(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s is wiped. Before the node joins as new: simpctl node remove ID, node admit ID, and a new certificate\n", dir)
			return cli.Failed(err)
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "the node's folder")
	c.Flags().BoolVar(&yes, "yes", false, "yes, remove it")
	return c
}

var errNoDataDir = errors.New("--data-dir is missing: name the node's data folder")

// openData returns where the data is that a node keeps in the folder dir.
func openData(dir string) (string, error) {
	dir, err := storage.LocateData(dir)
	if err != nil {
		return "", err
	}
	return dir, storage.ReclaimData(dir)
}

func compactCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "compact --data-dir DIR",
		Short: "shrink the log file of a stopped node to the size of its content",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return errNoDataDir
			}
			dir, err := openData(dir)
			if err != nil {
				return cli.Failed(err)
			}
			before, after, err := storage.Compact(dir)
			if err != nil {
				return cli.Failed(err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %d KiB before, %d KiB now\n", dir, before>>10, after>>10)
			return cli.Failed(err)
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "the node's folder")
	return c
}

const recoverLong = `Makes a site out of the one node that keeps its data, after the majority of
the voters is lost for good. The node must be stopped, and no other one that
has data may ever run again: wipe them, and let them join.

What only the lost nodes had acknowledged is lost. All sessions end, and the
history gets a new name, by which every consumer can tell.

The file of peers names this one node and where others reach it:

    [{"id": "n1", "address": "10.0.0.1:7470"}]`

func recoverCommand() *cobra.Command {
	var dir, peers string
	var sure bool
	c := &cobra.Command{
		Use:   "recover --data-dir DIR --peers FILE --yes-i-lost-the-majority",
		Short: "go on with one node after the majority is lost for good",
		Long:  recoverLong,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case dir == "":
				return errNoDataDir
			case peers == "":
				return errors.New("--peers is missing: the file that names this node; see simpd recover --help")
			case !sure:
				return errors.New("recover discards the changes that only the lost nodes have: confirm with --yes-i-lost-the-majority that they will never run again")
			}
			return recoverSite(c, dir, peers)
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "the node's folder")
	c.Flags().StringVar(&peers, "peers", "", "the file that names this node alone")
	c.Flags().BoolVar(&sure, "yes-i-lost-the-majority", false, "yes, the other voters will never run again")
	return c
}

func recoverSite(c *cobra.Command, dir, peers string) error {
	dir, err := openData(dir)
	if err != nil {
		return cli.Failed(err)
	}
	r, err := cluster.Recover(dir, peers)
	if err != nil {
		return cli.Failed(err)
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "The site goes on with %s at %s: %s, up to index %d of history %s.\n"+
		"The history is now %s. Start %s; wipe every other node that has data, and let it join.\n",
		r.Node, r.Address, pluralize(r.Accounts, "account"), r.Index, r.OldHistory, r.History, r.Node)
	return cli.Failed(err)
}
