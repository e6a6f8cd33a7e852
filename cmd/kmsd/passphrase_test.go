package main_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const theirPassphrase = "correct horse battery staple"

// A node whose embedded module is under a passphrase starts again with it,
// wherever it comes from, and with no other.
func TestPassphraseOfTheEmbeddedModule(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*startTimeout)
	defer cancel()
	dir := t.TempDir()
	n := foundAlone(ctx, t, dir, fmt.Sprintf("module: {soft: {passphrase_file: %s}}\n", secretFile(t, theirPassphrase+"\n")))
	if _, err := os.Stat(filepath.Join(dir, "data", "module", "unlock-key")); !os.IsNotExist(err) {
		t.Errorf("an unlock key was made besides: %v", err)
	}
	serves := func(p *process) {
		t.Helper()
		await(t, "a node that is ready again", func() bool {
			select {
			case <-p.ended:
				t.Fatalf("kmsd ended: %v; it said:\n%s", p.err, p.out)
			default:
			}
			status, err := n.socket.Status(ctx)
			return err == nil && status.Ready
		})
		if strings.Contains(p.out.String(), theirPassphrase) {
			t.Error("the passphrase is in the log")
		}
		p.stop(syscall.SIGTERM)
	}
	serves(n.process)
	config := filepath.Join(dir, "kmsd.yaml")
	from := func(where string) []string {
		return []string{"serve", "--config", config, "--module-soft-passphrase-file", where}
	}
	serves(start(t, "serve", "--config", config))

	wantOneSentence(t, []string{"the passphrase does not open the private key in"}, from(secretFile(t, "Correct horse battery staple"))...)
	open := secretFile(t, theirPassphrase)
	must(t, os.Chmod(open, 0o640))
	wantOneSentence(t, []string{"module.soft.passphrase_file", "open to group or others"}, from(open)...)
	wantOneSentence(t, []string{"fd:700", "no such file descriptor"}, from("fd:700")...)

	// The writer of the pipe keeps its end open: the line is what counts.
	read, write, err := os.Pipe()
	must(t, err)
	defer write.Close()
	_, err = write.WriteString(theirPassphrase + "\nand what nobody asked for")
	must(t, err)
	cmd := exec.Command(kmsd, from("fd:3")...)
	cmd.ExtraFiles = []*os.File{read}
	p := startCommand(t, cmd)
	must(t, read.Close())
	serves(p)

	terminal, p := onTerminal(t, from("terminal")...)
	terminal.await("Passphrase of the node's module: ")
	terminal.write(theirPassphrase + "\n")
	serves(p)
	if terminal.shows(theirPassphrase) {
		t.Error("the terminal shows the passphrase")
	}

	// Asked to end while it waits for a person, it ends, and the terminal shows
	// again what is typed.
	terminal, p = onTerminal(t, from("terminal")...)
	terminal.await("Passphrase of the node's module: ")
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	if err := p.wait(); err == nil {
		t.Error("a node without its passphrase ended as if all were well")
	}
	if state, err := unix.IoctlGetTermios(int(terminal.slave.Fd()), unix.TCGETS); err != nil || state.Lflag&unix.ECHO == 0 {
		t.Errorf("the terminal was left silent: %v", err)
	}

	cmd = exec.Command(kmsd, from("terminal")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // has no terminal
	p = startCommand(t, cmd)
	if err := p.wait(); err == nil || !strings.Contains(p.out.String(), "there is no terminal to ask on") {
		t.Errorf("without a terminal: %v, %s", err, p.out)
	}
}

// A new passphrase is asked for twice, since nobody sees what is typed.
func TestANewPassphraseIsAskedForTwice(t *testing.T) {
	file := nodeFile(t, freePort(t, 1))
	args := []string{"serve", "--config", file, "--module-soft-passphrase-file", "terminal"}
	terminal, p := onTerminal(t, args...)
	terminal.await("New passphrase of the node's module: ")
	terminal.write(theirPassphrase + "\n")
	terminal.await("The same again: ")
	terminal.write(theirPassphrase + "!\n")
	if err := p.wait(); err == nil || !strings.Contains(p.out.String(), "the two passphrases differ") {
		t.Errorf("two that differ: %v, %s", err, p.out)
	}
	terminal, p = onTerminal(t, args...)
	for _, question := range []string{"New passphrase of the node's module: ", "The same again: "} {
		terminal.await(question)
		terminal.write(theirPassphrase + "\n")
	}
	await(t, "a private key file", func() bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(file), "data", "module", "private-key"))
		return err == nil
	})
	p.stop(syscall.SIGTERM)
}

// terminal is a pseudo-terminal with somebody before it.
type terminal struct {
	t             *testing.T
	master, slave *os.File
	seen          output
}

// onTerminal starts kmsd in a session of its own on a terminal; its output goes elsewhere.
func onTerminal(t *testing.T, args ...string) (*terminal, *process) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	x := &terminal{t: t, master: master, slave: slave}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buffer := make([]byte, 1024)
		for {
			n, err := master.Read(buffer)
			_, _ = x.seen.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	cmd := exec.Command(kmsd, args...)
	cmd.Stdin = slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p := startCommand(t, cmd)
	t.Cleanup(func() { // before that of p; kmsd is told that its terminal is gone
		_ = p.cmd.Process.Kill()
		<-p.ended
		slave.Close()
		<-read // the other end is closed
		master.Close()
	})
	return x, p
}

func (x *terminal) shows(text string) bool { return strings.Contains(x.seen.String(), text) }

func (x *terminal) await(text string) {
	x.t.Helper()
	await(x.t, "on the terminal: "+text, func() bool { return x.shows(text) })
}

func (x *terminal) write(text string) {
	x.t.Helper()
	_, err := bytes.NewBufferString(text).WriteTo(x.master)
	must(x.t, err)
}
