package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/hsm/doctor"
	"github.com/raftkms/raftkms/server/wire"
)

// unplayed are the commands whose document no script checks, and where else it is.
var unplayed = map[string]string{
	"cluster upgrade raise": "no version knows a higher level: TestAnswersOfTheAdminSocket",
	"cluster ca abort":      "TestAnswersOfTheAdminSocket",
	"key verify-erasure":    "TestAnswersOfTheAdminSocket",
	"iam client-ca list":    "TestAnswersOfTheAdminSocket",
	"iam client-ca add":     "TestAnswersOfTheAdminSocket",
	"iam client-ca bind":    "TestAnswersOfTheAdminSocket",
	"iam client-ca unbind":  "TestAnswersOfTheAdminSocket",
	"iam client-ca remove":  "TestAnswersOfTheAdminSocket",
}

// Every command that looks after nodes has its document in README.md, and a script
// that checks what it prints.
func TestEveryDocumentIsPromisedAndChecked(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var played strings.Builder
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		played.Write(text)
	}
	p := readPromises(t)
	offered := make(map[string]bool)
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		if !cmd.HasSubCommands() {
			offered[path] = true
		}
		for _, sub := range cmd.Commands() {
			walk(sub, strings.TrimSpace(path+" "+sub.Name()))
		}
	}
	walk(newRoot(), "")
	for command := range offered {
		group, _, _ := strings.Cut(command, " ")
		if slices.Contains([]string{"cluster", "root", "hsm"}, group) && !has(p, command) {
			t.Errorf("README.md shows no document of kmsctl %s", command)
		}
	}
	for command := range p {
		checked := strings.Contains(played.String(), "\ndocument '"+command+"'")
		if reason := unplayed[command]; !offered[command] || checked == (reason != "") {
			t.Errorf("kmsctl %s: offered: %v, checked by a script: %v, excused: %q", command, offered[command], checked, reason)
		}
	}
}

// README.md shows every member that a document can have, also those that are seldom there.
func TestDocumentsHaveThePromisedMembers(t *testing.T) {
	p := readPromises(t)
	for command, of := range map[string]any{
		"cluster init": wire.InitReply{}, "cluster join-token": wire.JoinTokenReply{}, "cluster status": wire.StatusReply{}, "cluster members": []wire.MemberInfo{},
		"cluster transfer-leader": wire.TransferReply{}, "cluster endpoints": []wire.NodeAddress{}, "cluster consistency": wire.Consistency{},
		"cluster rotate-gossip-key": wire.GossipRotation{}, "cluster ca status": wire.CAStatus{}, "cluster ca certificates": []wire.CAInfo{},
		"cluster upgrade status": wire.UpgradeStatus{}, "cluster snapshot check": wire.BackupReply{}, "cluster snapshot restore": wire.RestoreReply{},
		"cluster recover": recovered{},
		"root verify":     []rootVerdict{}, "root rotate": wire.RotateRootsReply{}, "root copy": wire.CopyRootsReply{}, "root backup": rootBackup{}, "root restore": restored{},
		"hsm doctor": doctor.Report{}, "audit verify": []wire.TraceReport{}, "audit keys": wire.TraceKeysReply{}, "key verify-erasure": wire.VerifyErasureReply{},
		"iam client-ca list": []wire.Provider{},
	} {
		if err := p.matches(command, p[command], reflect.TypeOf(of)); err != nil {
			t.Error(err)
		}
	}
}

// matches compares what is promised with the members of a type.
func (p promises) matches(at string, promised any, of reflect.Type) error {
	promised = p.form(promised)
	_, isText := reflect.New(of).Interface().(interface{ UnmarshalText([]byte) error })
	switch kind := of.Kind(); {
	case kind == reflect.Pointer:
		return p.matches(at, promised, of.Elem())
	case kind == reflect.Interface:
		return nil // what it is then the scripts check
	case kind == reflect.Map:
		if object, is := promised.(map[string]any); !is || !has(object, "…") {
			return fmt.Errorf("%s: README.md shows %v, and it is an object of any members", at, promised)
		}
		return nil
	case kind == reflect.Slice:
		list, is := promised.([]any)
		if !is || len(list) != 1 {
			return fmt.Errorf("%s: README.md shows %v, and it is a list", at, promised)
		}
		return p.matches(at+"[]", list[0], of.Elem())
	case kind == reflect.Struct && !isText:
		object, is := promised.(map[string]any)
		if !is {
			return fmt.Errorf("%s: README.md shows %v, and it is an object", at, promised)
		}
		left := maps.Clone(object)
		var wrong error
		for _, field := range reflect.VisibleFields(of) {
			tag, tagged := field.Tag.Lookup("json")
			if !tagged {
				continue
			}
			name, options, _ := strings.Cut(tag, ",")
			shown := name
			if strings.HasPrefix(options, "omit") {
				shown = "(" + name + ")"
			}
			if !has(left, shown) {
				wrong = errors.Join(wrong, fmt.Errorf("%s: README.md does not show %s", at, shown))
			} else {
				wrong = errors.Join(wrong, p.matches(at+"."+name, left[shown], field.Type))
			}
			delete(left, shown)
		}
		for shown := range left {
			wrong = errors.Join(wrong, fmt.Errorf("%s: README.md shows %s, and there is none", at, shown))
		}
		return wrong
	}
	if _, is := promised.(map[string]any); is {
		return fmt.Errorf("%s: README.md shows an object", at)
	}
	return nil
}
