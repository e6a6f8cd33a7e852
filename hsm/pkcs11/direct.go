package pkcs11

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

typedef unsigned long ulong_t; // CK_ULONG, CK_RV and all handles
// Memory of the caller is passed as bytes, never as void *: behind that cgo
// looks for Go pointers in the whole object that a slice is part of, and ends
// the program when it finds one.
typedef unsigned char byte_t; // CK_BYTE

// The function list of PKCS#11 v2.40, section 5.1: a version, then pointers in
// an order that the standard fixes. The indexes below count from C_Initialize.
typedef struct { unsigned char major, minor; } version_t;
typedef struct { version_t version; void *call[68]; } functions_t;
enum { C_LOGIN = 18, C_CREATE_OBJECT = 20, C_GET_ATTRIBUTE_VALUE = 24, C_ENCRYPT_INIT = 29, C_ENCRYPT = 30, C_DECRYPT = 34, C_GENERATE_RANDOM = 64 };

typedef struct { ulong_t type; void *value; ulong_t length; } attribute_t;         // CK_ATTRIBUTE
typedef struct { ulong_t mechanism; void *value; ulong_t length; } mechanism_t; // CK_MECHANISM

// These keep no pointer to memory of Go's, and the library never calls Go.
#cgo noescape direct_encrypt
#cgo nocallback direct_encrypt
#cgo noescape direct_encrypt_blocks
#cgo nocallback direct_encrypt_blocks

// direct_open returns NULL, or the reason why the library is of no use.
static const char *direct_open(const char *path, functions_t **functions) {
	void *library = dlopen(path, RTLD_NOW);
	if (library == NULL) {
		return dlerror();
	}
	ulong_t (*list)(functions_t **) = (ulong_t (*)(functions_t **))dlsym(library, "C_GetFunctionList");
	if (list != NULL && list(functions) == 0 && *functions != NULL) {
		return NULL;
	}
	dlclose(library);
	return "it has no C_GetFunctionList: this is no PKCS#11 library";
}

static ulong_t direct_login(functions_t *f, ulong_t session, ulong_t user, byte_t *pin, ulong_t length) {
	return ((ulong_t (*)(ulong_t, ulong_t, byte_t *, ulong_t))f->call[C_LOGIN])(session, user, pin, length);
}

static ulong_t direct_read(functions_t *f, ulong_t session, ulong_t object, ulong_t type, byte_t *value, ulong_t *length) {
	attribute_t a = {type, value, *length};
	ulong_t rv = ((ulong_t (*)(ulong_t, ulong_t, attribute_t *, ulong_t))f->call[C_GET_ATTRIBUTE_VALUE])(session, object, &a, 1);
	*length = a.length;
	return rv;
}

enum { MOST_ATTRIBUTES = 32 };

// direct_create makes an object of n attributes in C memory and the value.
static ulong_t direct_create(functions_t *f, ulong_t session, const void *attributes, ulong_t n, ulong_t type, byte_t *value, ulong_t length, ulong_t *object) {
	attribute_t all[MOST_ATTRIBUTES + 1];
	if (n > MOST_ATTRIBUTES) {
		return 7; // CKR_ARGUMENTS_BAD
	}
	all[0] = (attribute_t){type, value, length};
	for (ulong_t i = 0; i < n; i++) {
		all[i + 1] = ((const attribute_t *)attributes)[i];
	}
	return ((ulong_t (*)(ulong_t, attribute_t *, ulong_t, ulong_t *))f->call[C_CREATE_OBJECT])(session, all, n + 1, object);
}

static ulong_t direct_decrypt(functions_t *f, ulong_t session, byte_t *src, ulong_t length, byte_t *dst, ulong_t *room) {
	return ((ulong_t (*)(ulong_t, byte_t *, ulong_t, byte_t *, ulong_t *))f->call[C_DECRYPT])(session, src, length, dst, room);
}

static ulong_t direct_encrypt(functions_t *f, ulong_t session, byte_t *src, ulong_t length, byte_t *dst, ulong_t *room) {
	return ((ulong_t (*)(ulong_t, byte_t *, ulong_t, byte_t *, ulong_t *))f->call[C_ENCRYPT])(session, src, length, dst, room);
}

// direct_encrypt_blocks is C_EncryptInit and C_Encrypt, which are on the way of
// every data key: together they leave and enter the scheduler of Go once.
static ulong_t direct_encrypt_blocks(functions_t *f, ulong_t session, ulong_t key, byte_t *src, ulong_t length, byte_t *dst, ulong_t *room) {
	mechanism_t ecb = {0x1081, NULL, 0}; // CKM_AES_ECB
	ulong_t rv = ((ulong_t (*)(ulong_t, mechanism_t *, ulong_t))f->call[C_ENCRYPT_INIT])(session, &ecb, key);
	return rv != 0 ? rv : direct_encrypt(f, session, src, length, dst, room);
}

static ulong_t direct_random(functions_t *f, ulong_t session, byte_t *p, ulong_t length) {
	return ((ulong_t (*)(ulong_t, byte_t *, ulong_t))f->call[C_GENERATE_RANDOM])(session, p, length);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	p11 "github.com/miekg/pkcs11"
)

// direct is a PKCS#11 library as miekg/pkcs11 wraps it, and the calls
// that write into, or read from, memory of the caller that the caller wipes.
type direct struct {
	*p11.Ctx
	functions *C.functions_t
}

// load loads the library for good; the error says what the dynamic linker says.
func load(path string) (*direct, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	d := new(direct)
	if reason := C.direct_open(name, &d.functions); reason != nil {
		return nil, errors.New(C.GoString(reason))
	}
	if d.Ctx = p11.New(path); d.Ctx == nil {
		return nil, errors.New("the library loads only once")
	}
	return d, nil
}

// LoginWith is C_Login with a PIN that stays in the caller's memory.
func (d *direct) LoginWith(s p11.SessionHandle, user uint, pin []byte) error {
	return result(C.direct_login(d.functions, C.ulong_t(s), C.ulong_t(user), pointer(pin), C.ulong_t(len(pin))))
}

// ReadValue reads CKA_VALUE into value and returns its length.
func (d *direct) ReadValue(s p11.SessionHandle, o p11.ObjectHandle, value []byte) (int, error) {
	length := C.ulong_t(len(value))
	err := result(C.direct_read(d.functions, C.ulong_t(s), C.ulong_t(o), p11.CKA_VALUE, pointer(value), &length))
	if err != nil {
		return 0, err
	}
	return written(length, value)
}

// EncryptInto is C_Encrypt from src into dst; it returns how much was written.
func (d *direct) EncryptInto(s p11.SessionHandle, dst, src []byte) (int, error) {
	room := C.ulong_t(len(dst))
	err := result(C.direct_encrypt(d.functions, C.ulong_t(s), pointer(src), C.ulong_t(len(src)), pointer(dst), &room))
	if err != nil {
		return 0, err
	}
	return written(room, dst)
}

// EncryptBlocks is C_EncryptInit with CKM_AES_ECB and C_Encrypt from src into
// dst; it returns how much was written.
func (d *direct) EncryptBlocks(s p11.SessionHandle, key p11.ObjectHandle, dst, src []byte) (int, error) {
	room := C.ulong_t(len(dst))
	err := result(C.direct_encrypt_blocks(d.functions, C.ulong_t(s), C.ulong_t(key), pointer(src), C.ulong_t(len(src)), pointer(dst), &room))
	if err != nil {
		return 0, err
	}
	return written(room, dst)
}

// DecryptInto is C_Decrypt from src into dst; it returns how much was written.
func (d *direct) DecryptInto(s p11.SessionHandle, dst, src []byte) (int, error) {
	room := C.ulong_t(len(dst))
	err := result(C.direct_decrypt(d.functions, C.ulong_t(s), pointer(src), C.ulong_t(len(src)), pointer(dst), &room))
	if err != nil {
		return 0, err
	}
	return written(room, dst)
}

// CreateSecret is C_CreateObject of the template and a CKA_VALUE that stays in
// the caller's memory.
func (d *direct) CreateSecret(s p11.SessionHandle, template nested, value []byte) (p11.ObjectHandle, error) {
	var object C.ulong_t
	err := result(C.direct_create(d.functions, C.ulong_t(s), template.memory, C.ulong_t(template.count),
		p11.CKA_VALUE, pointer(value), C.ulong_t(len(value)), &object))
	return p11.ObjectHandle(object), err
}

// RandomInto is C_GenerateRandom.
func (d *direct) RandomInto(s p11.SessionHandle, p []byte) error {
	return result(C.direct_random(d.functions, C.ulong_t(s), pointer(p), C.ulong_t(len(p))))
}

// written is a length that the device gave, which it chose freely: one that the
// memory has no room for is a fault of the device, and no length.
func written(length C.ulong_t, memory []byte) (int, error) {
	if uint64(length) > uint64(len(memory)) {
		return 0, fmt.Errorf("the device says that it wrote %d bytes where there is room for %d: %w", uint64(length), len(memory), p11.Error(p11.CKR_DEVICE_ERROR))
	}
	return int(length), nil
}

func pointer(b []byte) *C.byte_t {
	return (*C.byte_t)(unsafe.SliceData(b))
}

func result(rv C.ulong_t) error {
	if rv == p11.CKR_OK {
		return nil
	}
	return p11.Error(rv)
}
