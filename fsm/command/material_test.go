package command_test

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Every body that carries wrapped material says so, or what comes after its key
// was deleted would stay in every node's log.
func TestBodiesSayWhichMaterialTheyCarry(t *testing.T) {
	for _, body := range bodies() {
		cmd, err := command.New(body.Type(), body)
		if err != nil {
			t.Fatal(err)
		}
		var said []command.Material
		if b, carries := body.(command.WithMaterial); carries {
			said = b.Material()
		}
		for _, m := range said {
			if m.KeyID == "" || m.RootGeneration == 0 || len(m.Blob) == 0 || !bytes.Contains(cmd.Body, m.Blob) {
				t.Errorf("%v: %+v", body.Type(), m)
			}
		}
		if carried := blobs(body); len(carried) != len(said) {
			t.Errorf("%v carries %d pieces of material and says %d in material.go", body.Type(), len(carried), len(said))
		}
	}
}

// blobs are the fields of a body, and of what is in it, that look like wrapped material.
func blobs(body any) (found [][]byte) {
	var look func(v reflect.Value)
	look = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			if p, is := v.Interface().(command.Rewrapped); is && p.What == state.SealedVersion {
				found = append(found, p.Bytes)
			}
			for i := range v.NumField() {
				if v.Type().Field(i).Name == "Blob" && v.Field(i).Len() > 0 {
					found = append(found, v.Field(i).Bytes())
				}
				look(v.Field(i))
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				look(v.Index(i))
			}
		}
	}
	look(reflect.ValueOf(body))
	return found
}
