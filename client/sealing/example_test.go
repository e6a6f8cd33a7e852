package sealing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/raftkms/raftkms/client/sealing"
)

// Each order is sealed under a data key of its own, which travels with it.
func ExampleSealer_Seal() {
	ctx := context.Background()
	keys := newService() // in place of a client.Client: keys in this process
	s := sealing.New(keys, sealing.Options{})

	sealed, err := s.Seal(ctx, "alias/orders", []byte("two apples"), map[string]string{"tenant": "7"})
	if err != nil {
		panic(err)
	}
	opened, err := s.Open(ctx, sealed, map[string]string{"tenant": "7"})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", opened)

	_, err = s.Open(ctx, sealed, map[string]string{"tenant": "8"})
	fmt.Println(err)
	// Output:
	// two apples
	// opening the data key: the ciphertext is not one of this key
}

// A backup of any size goes through a writer. Only Close makes it whole.
func ExampleSealer_Writer() {
	ctx := context.Background()
	s := sealing.New(newService(), sealing.Options{})

	var file bytes.Buffer
	w, err := s.Writer(ctx, "alias/backups", &file, nil)
	if err != nil {
		panic(err)
	}
	if _, err := io.Copy(w, strings.NewReader("all that there is")); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}

	r, err := s.Reader(ctx, &file, nil)
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(r) // what was cut ends in an error
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", text)
	// Output: all that there is
}

// With a cache one data key seals many orders, and a revocation of the key takes
// up to MaxAge to reach this process.
func ExampleCache() {
	ctx := context.Background()
	keys := newService()
	s := sealing.New(keys, sealing.Options{Cache: &sealing.Cache{MaxUses: 100}})
	for order := range 250 {
		if _, err := s.Seal(ctx, "alias/orders", fmt.Append(nil, "order ", order), nil); err != nil {
			panic(err)
		}
	}
	fmt.Println(keys.made, "data keys")
	// Output: 3 data keys
}
