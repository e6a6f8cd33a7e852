package fsmtest

import (
	"encoding/hex"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
)

// Bodies about who may do what. Ids are made from names by [ID].

// ID returns the 32 hex digits that this package gives what has that name.
func ID(name string) string { return hex.EncodeToString(Fingerprint("id " + name)[:16]) }

// AccessKey returns the access key id that this package makes of a name.
func AccessKey(name string) string {
	const letters = "ABCDEFGHIJKLMNOP"
	id := make([]byte, 20)
	for i, b := range Fingerprint("ak " + name)[:20] {
		id[i] = letters[b%16]
	}
	return string(id)
}

// CreateAccount is the body that makes an account of that name: its project has
// ID(name+"/project"), its administrator ID(name+"/admin") and AccessKey(name+"/admin").
func CreateAccount(name string) command.CreateAccount {
	return command.CreateAccount{
		DomainID: ID(name), Name: name, Description: "account " + name, ProjectID: ID(name + "/project"),
		UserID: ID(name + "/admin"), UserName: "admin", AccessKeyID: AccessKey(name + "/admin"), SealedSecret: []byte("sealed secret"),
	}
}

// CreateUser is the body that makes a user of that name with [ID] of it.
func CreateUser(name string) command.CreateUser {
	return command.CreateUser{ID: ID(name), Name: name, Description: "user " + name}
}

// CreateAccessKey is the body that gives a user [AccessKey] of its name.
func CreateAccessKey(user string) command.CreateAccessKey {
	return command.CreateAccessKey{ID: AccessKey(user), UserID: ID(user), SealedSecret: []byte("sealed secret")}
}

// CreateGroup is the body that makes a group of that name with [ID] of it.
func CreateGroup(name string) command.CreateGroup {
	return command.CreateGroup{ID: ID(name), Name: name, Description: "group " + name}
}

// CreatePolicy is the body that makes a policy of that name with [ID] of it.
func CreatePolicy(name string, statements ...policy.Statement) command.CreatePolicy {
	return command.CreatePolicy{ID: ID(name), Name: name, Description: "policy " + name, Document: policy.Document{
		Version: policy.VersionPolicy, Statements: statements,
	}}
}

// Allow is a statement that allows actions everywhere.
func Allow(actions ...string) policy.Statement { return policy.Statement{Actions: actions} }

// Deny is a statement that denies actions everywhere.
func Deny(actions ...string) policy.Statement { return policy.Statement{Deny: true, Actions: actions} }

// CallerAs is the user of that name, with [AccessKey] of it, in the project of
// a bootstrapped machine.
func CallerAs(user string) command.Caller {
	c := Caller()
	c.UserID, c.CredentialID = ID(user), AccessKey(user)
	return c
}
