package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/cluster/clocksource"
	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/cmd/kmsd/device"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/doctor"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// doctorWithin bounds an examination: slow devices take long to make RSA keys.
const doctorWithin = 15 * time.Minute

func (a *app) hsmCommands() *cobra.Command {
	return group("hsm", "Look at a node's HSM, and change what unlocks the embedded one", a.doctorCommand(), a.relockCommand())
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say whether a node's HSM can carry a node, what it will be used for, and how fast it is",
		Long: "Say whether a node's HSM can carry a node, what it will be used for, and how fast it is.\n\n" +
			"A node that runs examines its own module (--socket, or --config when it runs). With --config of a node that does not run,\n" +
			"kmsctl opens the device itself, as the same user, makes a set of root keys to try, and destroys it again.\n" +
			"Exit status 0: the device can carry a node, 1: it cannot.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorWithin)
			defer cancel()
			report, err := a.examine(ctx)
			if err != nil {
				return err
			}
			noteClock(report, clocksource.File)
			if err := a.print(cmd, report, doctorRows(report)); err != nil {
				return err
			}
			if !report.Carries() {
				return errors.New("this device cannot carry a node; see the problems above")
			}
			return nil
		},
	}
}

// noteClock adds what the node's operator should know of the machine's clock; the
// node is on this machine, whether it runs or not.
func noteClock(r *doctor.Report, file string) {
	if warning := clocksource.Warning(file); warning != "" {
		r.Notes = append(r.Notes, "Of the machine: "+warning+".")
	}
}

// examine asks the node if it runs, else the device that its configuration names.
func (a *app) examine(ctx context.Context) (*doctor.Report, error) {
	var c *config.Config
	socket := a.socket
	if a.config != "" {
		var err error
		if c, err = config.Load(a.config, os.Environ(), nil); err != nil {
			return nil, err
		}
		socket = c.Node.AdminSocket
	}
	if socket == "" {
		node, err := a.admin()
		if err != nil {
			return nil, err
		}
		return readDoctor(ctx, node)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil && c != nil {
		return examineStopped(ctx, c)
	}
	if err == nil {
		conn.Close()
	}
	return readDoctor(ctx, admin.Open(socket))
}

// readDoctor has a running node examine its device.
func readDoctor(ctx context.Context, node *admin.Socket) (*doctor.Report, error) {
	raw, err := node.Doctor(ctx)
	if err != nil {
		return nil, err
	}
	report := new(doctor.Report)
	if err := json.Unmarshal(raw, report); err != nil {
		return nil, fmt.Errorf("reading the node's report: %w", err)
	}
	return report, nil
}

func examineStopped(ctx context.Context, c *config.Config) (*doctor.Report, error) {
	if err := c.CheckSecrets(os.Getenv("CREDENTIALS_DIRECTORY")); err != nil {
		return nil, err
	}
	if c.Module.Kind == "pkcs11" {
		if err := device.SetEnvironment(c); err != nil {
			return nil, err
		}
		report := pkcs11.Diagnose(ctx, device.PKCS11(c, nil, exitHung))
		judgeRoots(report, c.Node.DataDir)
		examineSecond(ctx, c, report)
		return report, nil
	}
	if _, err := os.Stat(c.Module.Soft.RootsFile); err != nil {
		return nil, fmt.Errorf("the node has not made its module's files yet (%w); start it once", err)
	}
	module, err := device.Open(ctx, c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		report := doctor.New(hsm.Description{Kind: "soft"})
		report.Problem(err)
		return report, nil
	}
	report := doctor.New(module.Describe())
	if id, ok := clusterOf(c.Node.DataDir); ok {
		if _, err := module.OpenRoots(ctx, id); err != nil {
			report.Problem(err)
		} else {
			report.Examine(ctx, module)
		}
	} else {
		report.Notes = append(report.Notes, "The node has no cluster yet, so nothing was timed.")
	}
	if err := module.Close(); err != nil {
		report.Problem(err)
	}
	return report, nil
}

// exitHung ends the program with a call that hangs in a device: nothing else
// frees it.
func exitHung(err error) {
	fmt.Fprintf(os.Stderr, "kmsctl: %v\n", err)
	os.Exit(exitFailed)
}

// deviceRow says of one of two HSMs whether it can be used.
func deviceRow(d doctor.Device) []string {
	if d.Serves {
		return []string{"HSM", d.Name + ": serves, or could at once"}
	}
	return []string{"DEGRADED", "the " + d.Name + " HSM cannot be used: " + d.Problem}
}

// examineSecond adds what a second HSM has to say. It must be able to carry the
// node, or it could not take over.
func examineSecond(ctx context.Context, c *config.Config, report *doctor.Report) {
	cfg, is := device.Second(c, nil, exitHung)
	if !is {
		return
	}
	second := pkcs11.Diagnose(ctx, cfg)
	judgeRoots(second, c.Node.DataDir)
	for i, r := range []*doctor.Report{report, second} {
		d := doctor.Device{Name: []string{"first", "second"}[i], Serves: r.Carries()}
		if !d.Serves {
			d.Problem = r.Problems[0]
		}
		report.Devices = append(report.Devices, d)
	}
	for _, problem := range second.Problems {
		report.Problem(fmt.Errorf("the second HSM: %s", problem))
	}
	for _, note := range second.Notes {
		report.Notes = append(report.Notes, "Of the second HSM: "+note)
	}
	for _, m := range second.Measures {
		m.Operation += " (second HSM)"
		report.Measures = append(report.Measures, m)
	}
}

// judgeRoots compares what a token holds with what the node needs.
func judgeRoots(r *doctor.Report, dataDir string) {
	cluster, ok := clusterID(dataDir)
	if !r.Carries() {
		return
	}
	own := false
	for _, set := range r.Roots {
		own = own || set.Cluster == cluster
	}
	switch {
	case ok && !own && len(r.Roots) > 0:
		r.Problem(fmt.Errorf("the token holds the root keys of another cluster (%s), and none of this node's cluster %s", r.Roots[0].Cluster, cluster))
	case ok && !own:
		r.Notes = append(r.Notes, "The token holds no root keys of the node's cluster yet: it waits for `kmsctl root approve`.")
	case !ok && len(r.Roots) > 0:
		r.Notes = append(r.Notes, "The token holds the root keys of cluster "+r.Roots[0].Cluster+", and the node belongs to none: use an empty token, or the node's old data directory.")
	}
}

func clusterOf(dataDir string) (hsm.ClusterID, bool) {
	text, ok := clusterID(dataDir)
	if !ok {
		return hsm.ClusterID{}, false
	}
	id, err := hsm.ParseClusterID(text)
	return id, err == nil
}

// clusterID reads which cluster a node's data directory belongs to.
func clusterID(dataDir string) (string, bool) {
	raw, err := os.ReadFile(filepath.Join(dataDir, "identity.json"))
	if err != nil {
		return "", false
	}
	var id struct {
		ClusterID string `json:"cluster_id"`
	}
	return id.ClusterID, json.Unmarshal(raw, &id) == nil && id.ClusterID != ""
}

func doctorRows(r *doctor.Report) [][]string {
	rows := [][]string{{"MODULE", r.Kind}}
	row := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	row("LIBRARY", r.Library)
	row("TOKEN", r.Token)
	row("DEVICE", r.Manufacturer+" "+r.Model+" "+r.Firmware)
	row("SERIAL", r.Serial)
	row("HARDWARE", fmt.Sprint(r.Hardware))
	for _, d := range r.Devices {
		rows = append(rows, deviceRow(d))
	}
	for _, t := range r.Tokens {
		row("THERE IS", fmt.Sprintf("slot %d: token %q, serial %s", t.Slot, t.Label, t.Serial))
	}
	for _, m := range r.Mechanisms {
		state := "offered"
		if !m.Offered {
			state = "missing"
			if m.Needed {
				state = "MISSING, and needed"
			}
		}
		row("MECHANISM", m.Name+": "+state+" ("+m.For+")")
	}
	for _, c := range r.Capabilities {
		row("HSM LEVEL", c.Spec+" "+c.Use+": "+c.How)
	}
	for _, s := range r.Roots {
		row("ROOT KEYS", fmt.Sprintf("cluster %s, generation %d", s.Cluster, s.Generation))
	}
	for _, m := range r.Measures {
		if m.Error == "" {
			row("TIME", fmt.Sprintf("%s: %v", m.Operation, time.Duration(m.Microseconds)*time.Microsecond))
		}
	}
	for _, n := range r.Notes {
		row("NOTE", n)
	}
	for _, p := range r.Problems {
		row("PROBLEM", p)
	}
	if r.Carries() {
		row("VERDICT", "this device can carry a node")
	} else {
		row("VERDICT", "this device cannot carry a node")
	}
	return rows
}
