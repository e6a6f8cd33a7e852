package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/sealing"
)

// sealedSuffix is what an encrypted file is called after its original.
const sealedSuffix = ".sealed"

func (a *app) fileCommands() *cobra.Command {
	return group("file", "Encrypt files of any size under a data key of the cluster, and open them", a.encryptFileCommand(), a.decryptFileCommand())
}

// fileFlags are what both commands take.
type fileFlags struct {
	out     string
	force   bool
	context map[string]string
}

func (f *fileFlags) add(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&f.out, "out", "", "File to write; - is standard output. "+what)
	cmd.Flags().BoolVar(&f.force, "force", false, "Replace the file if it exists.")
	addContextFlag(cmd, &f.context)
}

func (a *app) encryptFileCommand() *cobra.Command {
	var f fileFlags
	cmd := &cobra.Command{
		Use:   "encrypt KEY FILE",
		Short: "Encrypt a file (- is standard input); the encrypted data key travels in it",
		Args:  exactly("KEY", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := f.out
			if out == "" {
				out = "-"
				if args[1] != "-" {
					out = args[1] + sealedSuffix
				}
			}
			return a.convert(cmd, args[1], out, f.force, func(ctx context.Context, s *sealing.Sealer, dst io.Writer, src io.Reader) error {
				w, err := s.Writer(ctx, args[0], dst, f.context)
				if err != nil {
					return err
				}
				if _, err := io.Copy(w, src); err != nil {
					return err
				}
				return w.Close()
			})
		},
	}
	f.add(cmd, "Default: FILE"+sealedSuffix+".")
	return cmd
}

func (a *app) decryptFileCommand() *cobra.Command {
	var f fileFlags
	cmd := &cobra.Command{
		Use:   "decrypt FILE",
		Short: "Decrypt what file encrypt made; nothing is left behind unless all of it is genuine",
		Args:  exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := f.out
			if out == "" {
				original, ok := strings.CutSuffix(args[0], sealedSuffix)
				switch {
				case args[0] == "-":
					original = "-"
				case !ok:
					return misuse("%s does not end in %s: say where to write with --out", args[0], sealedSuffix)
				}
				out = original
			}
			return a.convert(cmd, args[0], out, f.force, func(ctx context.Context, s *sealing.Sealer, dst io.Writer, src io.Reader) error {
				r, err := s.Reader(ctx, src, f.context)
				if err != nil {
					return err
				}
				_, err = io.Copy(dst, r)
				return err
			})
		},
	}
	f.add(cmd, "Default: FILE without "+sealedSuffix+".")
	return cmd
}

// convert runs a file through the sealer into another, which appears whole or
// not at all. Standard output gets what there is as it comes: each part of it
// has been verified, but only the exit status says that it was all.
func (a *app) convert(cmd *cobra.Command, in, out string, force bool, do func(ctx context.Context, s *sealing.Sealer, dst io.Writer, src io.Reader) error) error {
	ctx := cmd.Context()
	src, size, err := openSource(cmd, in)
	if err != nil {
		return err
	}
	defer src.Close()
	bar := newProgress(cmd.ErrOrStderr(), filepath.Base(in), size)
	defer bar.done()
	counted := &interruptible{ctx: ctx, r: io.TeeReader(src, bar)}
	return a.withClient(func(c *client.Client) error {
		sealer := sealing.New(c, sealing.Options{})
		if out == "-" {
			return do(ctx, sealer, cmd.OutOrStdout(), counted)
		}
		return replaceFile(out, force, func(dst io.Writer) error { return do(ctx, sealer, dst, counted) })
	})
}

// openSource opens the input; size is -1 where nobody knows it.
func openSource(cmd *cobra.Command, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), -1, nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("opening the input: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, fmt.Errorf("opening the input: %w", err)
	}
	if !info.Mode().IsRegular() {
		return file, -1, nil
	}
	return file, info.Size(), nil
}

// replaceFile writes a file under a passing name and gives it its own once
// everything is on disk. It is readable by its owner alone.
func replaceFile(name string, force bool, write func(io.Writer) error) (err error) {
	if err := absent(name, force); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("creating the output: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if err := write(file); err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	if force {
		err = os.Rename(file.Name(), name)
	} else {
		err = giveName(file.Name(), name)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("naming the output: %w", err)
	}
	return nil
}

// giveName renames a file, and unlike a rename it replaces nothing. A removable
// disk may know no links.
func giveName(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return err
	}
	return os.Remove(from)
}

// syncDirectory returns when the names in a directory are on disk.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// absent refuses a file to write that is there already, unless by force.
func absent(name string, force bool) error {
	if _, err := os.Lstat(name); name == "" || force || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return misuse("%s exists already: give --force to replace it, or another name", name)
}

// interruptible ends a copy when its context does.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, fmt.Errorf("interrupted: %w", err)
	}
	return i.r.Read(p)
}
