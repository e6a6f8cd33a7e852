package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/hsm/soft"
)

// pollPause is how long a wait for input goes on before it looks whether the
// process was asked to end, in milliseconds.
const pollPause = 200

// Passphrase is where the passphrase of the embedded module comes from, as
// module.soft.passphrase_file says: the terminal, an inherited file descriptor,
// a file of mode 0600, or a systemd credential.
func Passphrase(name string) func(ctx context.Context, first bool) ([]byte, error) {
	return func(ctx context.Context, first bool) ([]byte, error) {
		if name == config.FromTerminal {
			return askTwice(ctx, first)
		}
		if n, is := strings.CutPrefix(name, config.DescriptorPrefix); is {
			return fromDescriptor(ctx, n)
		}
		return config.ReadSecret(name, credentialsDirectory())
	}
}

// fromDescriptor reads the first line of an inherited file descriptor and closes it.
func fromDescriptor(ctx context.Context, number string) ([]byte, error) {
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("fd:%s: %q is no number", number, number)
	}
	// Without this one of the runtime's own descriptors could be read, which are
	// neither files, pipes nor sockets.
	var stat unix.Stat_t
	if err := unix.Fstat(n, &stat); err != nil {
		return nil, fmt.Errorf("fd:%d: the process was given no such file descriptor: %w", n, err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR:
	default:
		return nil, fmt.Errorf("fd:%d is no file, pipe, socket or terminal", n)
	}
	text, err := readLine(ctx, n)
	if err = errors.Join(err, unix.Close(n)); err != nil {
		clear(text)
		return nil, fmt.Errorf("reading fd:%d: %w", n, err)
	}
	return text, nil
}

// readLine reads up to the end of a line, or of what comes. It reads no byte
// beyond that, and looks whether ctx has ended while it waits.
func readLine(ctx context.Context, fd int) ([]byte, error) {
	text := make([]byte, 0, soft.MaxPassphrase+2) // never moved, so that no copies remain
	fail := func(err error) ([]byte, error) {
		clear(text)
		return nil, err
	}
	for {
		if err := await(ctx, fd); err != nil {
			return fail(err)
		}
		n, err := unix.Read(fd, text[len(text):len(text)+1])
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return fail(err)
		}
		text = text[:len(text)+max(n, 0)]
		if n <= 0 || text[len(text)-1] == '\n' {
			break
		}
		if len(text) > soft.MaxPassphrase+1 {
			return fail(fmt.Errorf("it is longer than %d bytes", soft.MaxPassphrase))
		}
	}
	line := bytes.TrimRight(text, "\r\n")
	if len(line) == 0 {
		return fail(io.ErrUnexpectedEOF)
	}
	return line, nil
}

// await returns when there is something to read, or ctx has ended.
func await(ctx context.Context, fd int) error {
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(ready, pollPause); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		} else if n > 0 {
			return nil
		}
	}
	return ctx.Err()
}

// askTwice asks on the terminal from which the process was started, wherever
// its output goes; twice where a mistake would not be noticed.
func askTwice(ctx context.Context, first bool) ([]byte, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errors.New("there is no terminal to ask on: start the process from one, or name a file, a credential or a file descriptor (fd:N)")
	}
	defer terminal.Close()
	if !first {
		return prompt(ctx, terminal, "Passphrase of the node's module: ")
	}
	text, err := prompt(ctx, terminal, "New passphrase of the node's module: ")
	if err != nil {
		return nil, err
	}
	again, err := prompt(ctx, terminal, "The same again: ")
	defer clear(again)
	if err == nil && !bytes.Equal(text, again) {
		err = errors.New("the two passphrases differ")
	}
	if err != nil {
		clear(text)
		return nil, err
	}
	return text, nil
}

// prompt reads a line that the terminal does not show. The terminal is left as
// it was, also when the process is asked to end meanwhile.
func prompt(ctx context.Context, terminal *os.File, question string) (text []byte, err error) {
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("looking at the terminal: %w", err)
	}
	silent := *before
	silent.Lflag = silent.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	silent.Iflag |= unix.ICRNL
	// What was typed ahead was shown, so it is no passphrase.
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, &silent); err != nil {
		return nil, fmt.Errorf("switching the terminal's echo off: %w", err)
	}
	defer func() {
		_, written := terminal.WriteString("\n")
		err = errors.Join(err, written, unix.IoctlSetTermios(fd, unix.TCSETS, before))
	}()
	if _, err := terminal.WriteString(question); err != nil {
		return nil, err
	}
	return readLine(ctx, fd)
}
