package pkcs11

/*
#include <stdlib.h>

typedef struct { unsigned long type; void *value; unsigned long length; } attribute_t; // CK_ATTRIBUTE
*/
import "C"

import (
	"unsafe"

	p11 "github.com/miekg/pkcs11"
)

// nested is a template inside a template, such as CKA_UNWRAP_TEMPLATE: the
// bytes of CK_ATTRIBUTEs that point to values in C memory. miekg/pkcs11 knows
// no nested templates, but passes bytes on as they are.
type nested struct {
	memory unsafe.Pointer
	count  int // of attributes
	bytes  []byte
}

// newNested lays the template out in C memory, which the caller frees after
// the last call with it.
func newNested(template []*p11.Attribute) nested {
	const size = C.sizeof_attribute_t
	total := len(template) * size
	for _, a := range template {
		total += len(a.Value)
	}
	n := nested{count: len(template), memory: C.calloc(1, C.size_t(total))} // cgo's calloc does not return without memory
	memory := unsafe.Slice((*byte)(n.memory), total)
	headers := unsafe.Slice((*C.attribute_t)(n.memory), len(template))
	at := len(template) * size
	for i, a := range template {
		headers[i]._type = C.ulong(a.Type)
		headers[i].value = unsafe.Add(n.memory, at)
		headers[i].length = C.ulong(len(a.Value))
		at += copy(memory[at:], a.Value)
	}
	n.bytes = memory[:len(template)*size]
	return n
}

func (n nested) free() {
	C.free(n.memory)
}
