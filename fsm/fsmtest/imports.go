package fsmtest

import (
	"github.com/raftkms/raftkms/fsm/command"
)

// Bodies about the import of the key of a name. A token's id is made from its name.

// ImportToken returns the id of the import token of that name.
func ImportToken(token string) []byte { return Fingerprint("import " + token)[:16] }

// OpenImport is the body that keeps a wrapping pair until it expires (Unix ms).
func OpenImport(name, token string, expires int64) command.OpenImport {
	return command.OpenImport{
		ProjectID: ProjectID, KeyID: KeyID(name), TokenID: ImportToken(token), Expires: expires, RootGeneration: 1,
		Blob: []byte("wrapped private key of " + token), PublicKey: []byte("public key of " + token), MAC: Fingerprint("mac of " + token),
	}
}

// ImportMaterial is the body that gives a key its material, until it expires
// (Unix ms; 0: never). Equal materials have equal fingerprints and equal blobs.
func ImportMaterial(name, token, material string, expires int64) command.ImportMaterial {
	v := NewVersion(name, 1)
	v.Blob = []byte("wrapped material " + material)
	return command.ImportMaterial{
		ProjectID: ProjectID, KeyID: KeyID(name), TokenID: ImportToken(token), Expires: expires,
		Fingerprint: Fingerprint("material " + material), Version: v,
	}
}

// DeleteMaterial is the body that takes a key's material from it.
func DeleteMaterial(name string) command.DeleteMaterial {
	return command.DeleteMaterial{ProjectID: ProjectID, KeyID: KeyID(name)}
}

// CountImportFailure is the body that counts what did not open under a token.
func CountImportFailure(name, token string) command.CountImportFailure {
	return command.CountImportFailure{ProjectID: ProjectID, KeyID: KeyID(name), TokenID: ImportToken(token)}
}

// ExpireImport is the body that ends what was due then.
func ExpireImport(name string, due int64) command.ExpireImport {
	return command.ExpireImport{KeyID: KeyID(name), Due: due}
}
