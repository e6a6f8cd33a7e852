// A PKCS#11 library that forwards to another one and misbehaves as it is told.
//
// Beside faulty.so lies faulty.so.control, which its user maps into memory as
// this library does: words of 64 bits, see the enum below. So a test, in this
// process or another, changes what the device does at any moment, and reads
// what was asked of it. (The file is beside the library and not named by an
// environment variable, because one process may have two of these.)
//
// All functions are forwarded as eight machine words: every one of PKCS#11
// v2.40 takes at most eight arguments, and none is wider than a word.

#define _GNU_SOURCE
#include <errno.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long word; // CK_ULONG, CK_RV, handles and pointers

enum { FUNCTIONS = 68, SESSIONS = 4096, OBJECTS = 65536, CONTROL_SIZE = 8192, TARGET_AT = 4096 };

// The words of the control file.
enum {
	MAGIC, UNPLUGGED, LOSSES, LATENCY, HANG, REFUSE_PIN, STUCK, PATTERN, CAPACITY, WEDGES, REFUSE_ECB,
	FAIL, FAIL_CODE, FAIL_TIMES, TOKEN_FLAGS, INSIDE, LIVE_OBJECTS, LIVE_SESSIONS, MOST_INPUT, OVERSTATE,
	HIDDEN = 32, REFUSED = 48, CALLS = 64, LIES = 160, LISTED = 16
};

// Positions in CK_FUNCTION_LIST, whose order the standard fixes.
enum {
	INITIALIZE = 0, FINALIZE = 1, GET_INFO = 2, GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_SLOT_INFO = 5,
	GET_TOKEN_INFO = 6, GET_MECHANISM_LIST = 7, GET_MECHANISM_INFO = 8, OPEN_SESSION = 12, CLOSE_SESSION = 13,
	CLOSE_ALL_SESSIONS = 14, LOGIN = 18, CREATE_OBJECT = 20, COPY_OBJECT = 21, DESTROY_OBJECT = 22,
	GET_ATTRIBUTE_VALUE = 24, ENCRYPT_INIT = 29, ENCRYPT = 30, DECRYPT_INIT = 33, DECRYPT = 34, SIGN_INIT = 42, SIGN = 43,
	VERIFY_INIT = 48, VERIFY = 49,
	GENERATE_KEY = 58, GENERATE_KEY_PAIR = 59, WRAP_KEY = 60, UNWRAP_KEY = 61, DERIVE_KEY = 62, GENERATE_RANDOM = 64
};

enum {
	OK = 0, ATTRIBUTE_TYPE_INVALID = 0x12, DATA_LEN_RANGE = 0x21, DEVICE_ERROR = 0x30, DEVICE_MEMORY = 0x31,
	DEVICE_REMOVED = 0x32, MECHANISM_INVALID = 0x70, PIN_INCORRECT = 0xA0, TOKEN_NOT_PRESENT = 0xE0,
	SIGNATURE_INVALID = 0xC0, VALUE = 0x11, GENERAL_ERROR = 5, ALREADY_INITIALIZED = 0x191, AES_ECB = 0x1081, USER = 1, ALL = 1000
};

typedef struct { unsigned char major, minor; } version_t;
typedef struct { version_t version; word (*call[FUNCTIONS])(); } functions_t;
typedef struct { word type; void *value; word length; } attribute_t;
typedef word (*eight)(word, word, word, word, word, word, word, word);

static _Atomic uint64_t *control;
static functions_t *target, self;

// gate is shared by calls inside the target, and held alone by who closes its
// sessions: the target is not asked to bear what the device does to it.
static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t books = PTHREAD_MUTEX_INITIALIZER;
static word sessions[SESSIONS];
static struct { word session, object; } objects[OBJECTS];
static _Atomic uint64_t losses;
static _Atomic int wedged;

// nap lasts as long as it says, whatever slack the process gives its timers: a
// device that answers is no timer.
static void nap(uint64_t ns) {
	struct timespec t = {ns / 1000000000u, ns % 1000000000u};
	int slack = prctl(PR_GET_TIMERSLACK);
	prctl(PR_SET_TIMERSLACK, 1);
	while (nanosleep(&t, &t) != 0 && errno == EINTR) {} // the Go runtime sends its threads signals
	prctl(PR_SET_TIMERSLACK, slack);
}

static word forward(int n, word *a) {
	return ((eight)target->call[n])(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}

// book keeps count of sessions and objects, with books held by nobody.
static void book_session(word s, int open) {
	pthread_mutex_lock(&books);
	for (int i = 0; i < SESSIONS; i++) {
		if (sessions[i] == (open ? 0 : s)) {
			sessions[i] = open ? s : 0;
			if (open) control[LIVE_SESSIONS]++; else control[LIVE_SESSIONS]--;
			break;
		}
	}
	for (int i = 0; !open && i < OBJECTS; i++) {
		if (objects[i].object != 0 && objects[i].session == s) {
			objects[i].object = 0;
			control[LIVE_OBJECTS]--;
		}
	}
	pthread_mutex_unlock(&books);
}

static void book_object(word s, word o, int made) {
	pthread_mutex_lock(&books);
	for (int i = 0; i < OBJECTS; i++) {
		if (objects[i].object == (made ? 0 : o)) {
			objects[i].session = s;
			objects[i].object = made ? o : 0;
			if (made) control[LIVE_OBJECTS]++; else control[LIVE_OBJECTS]--;
			break;
		}
	}
	pthread_mutex_unlock(&books);
}

// lose closes every session that was opened through this library, once for
// each loss that was asked for.
static void lose(void) {
	if (control[LOSSES] == losses) return;
	pthread_rwlock_wrlock(&gate);
	uint64_t asked = control[LOSSES];
	if (asked != losses) {
		for (int i = 0; i < SESSIONS; i++) {
			word s = sessions[i];
			if (s == 0) continue;
			word a[8] = {s};
			forward(CLOSE_SESSION, a);
			book_session(s, 0);
		}
		losses = asked;
	}
	pthread_rwlock_unlock(&gate);
}

static int listed(int at, word value) {
	for (int i = 0; i < LISTED; i++) {
		if (control[at + i] == (uint64_t)value + 1) return 1;
	}
	return 0;
}

static int mechanism_hidden(word pointer) {
	return pointer != 0 && listed(HIDDEN, *(word *)pointer);
}

static int attributes_refused(word pointer, word count) {
	attribute_t *t = (attribute_t *)pointer;
	for (word i = 0; i < count; i++) {
		if (listed(REFUSED, t[i].type)) return 1;
	}
	return 0;
}

// refusal is what the device says without doing anything; OK to go on.
static word refusal(int n, word *a) {
	switch (n) {
	case LOGIN:
		if (a[1] == USER && control[REFUSE_PIN]) return PIN_INCORRECT;
		break;
	case GET_MECHANISM_INFO:
		if (listed(HIDDEN, a[1])) return MECHANISM_INVALID;
		break;
	case ENCRYPT_INIT:
		if (a[1] != 0 && *(word *)a[1] == AES_ECB && control[REFUSE_ECB]) return MECHANISM_INVALID;
		// fall through
	case DECRYPT_INIT: case SIGN_INIT: case VERIFY_INIT: case GENERATE_KEY: case GENERATE_KEY_PAIR:
	case WRAP_KEY: case UNWRAP_KEY: case DERIVE_KEY:
		if (mechanism_hidden(a[1])) return MECHANISM_INVALID;
		break;
	case ENCRYPT:
		if (control[MOST_INPUT] != 0 && a[2] > control[MOST_INPUT]) {
			a[2] = 1; // the target ends the operation, as a device does
			forward(n, a);
			return DATA_LEN_RANGE;
		}
		break;
	}
	int refused = 0;
	switch (n) {
	case CREATE_OBJECT: refused = attributes_refused(a[1], a[2]); break;
	case GENERATE_KEY: refused = attributes_refused(a[2], a[3]); break;
	case GENERATE_KEY_PAIR: refused = attributes_refused(a[2], a[3]) || attributes_refused(a[4], a[5]); break;
	case UNWRAP_KEY: refused = attributes_refused(a[5], a[6]); break;
	case DERIVE_KEY: refused = attributes_refused(a[3], a[4]); break;
	case COPY_OBJECT: refused = attributes_refused(a[2], a[3]); break;
	}
	if (refused) return ATTRIBUTE_TYPE_INVALID;
	switch (n) {
	case CREATE_OBJECT: case COPY_OBJECT: case GENERATE_KEY: case GENERATE_KEY_PAIR: case UNWRAP_KEY: case DERIVE_KEY:
		// A pair is two objects, and a device has room for both or makes neither.
		if (control[CAPACITY] != 0 && control[LIVE_OBJECTS] + (n == GENERATE_KEY_PAIR) >= control[CAPACITY]) return DEVICE_MEMORY;
	}
	return OK;
}

// lies tells whether answers of that size of the function are to be wrong.
static int lies(int n, word size) {
	return listed(LIES, (word)n << 32 | size);
}

// lie changes one bit of such an answer.
static void lie(int n, word *a) {
	switch (n) {
	case ENCRYPT: case DECRYPT: case SIGN:
		if (a[3] != 0 && lies(n, *(word *)a[4])) *(unsigned char *)a[3] ^= 1;
		break;
	case GET_ATTRIBUTE_VALUE:
		for (word i = 0; i < a[3]; i++) {
			attribute_t *t = (attribute_t *)a[2] + i;
			if (t->type == VALUE && t->value != NULL && lies(n, t->length)) *(unsigned char *)t->value ^= 1;
		}
		break;
	}
}

// overstate has a length that the target gave be more than there is.
static word overstate(word length) { return length + control[OVERSTATE]; }

// after keeps the books, and changes what the target said.
static word after(int n, word *a, word rv) {
	if (n == VERIFY && rv == SIGNATURE_INVALID && lies(n, a[4])) return OK;
	if (rv != OK) return rv;
	lie(n, a);
	switch (n) {
	case OPEN_SESSION: book_session(*(word *)a[4], 1); break;
	case CLOSE_SESSION: book_session(a[0], 0); break;
	case CLOSE_ALL_SESSIONS: case FINALIZE:
		for (int i = 0; i < SESSIONS; i++) {
			if (sessions[i] != 0) book_session(sessions[i], 0);
		}
		if (n == FINALIZE) wedged = 0;
		break;
	case CREATE_OBJECT: book_object(a[0], *(word *)a[3], 1); break;
	case COPY_OBJECT: book_object(a[0], *(word *)a[4], 1); break;
	case GENERATE_KEY: book_object(a[0], *(word *)a[4], 1); break;
	case GENERATE_KEY_PAIR:
		book_object(a[0], *(word *)a[6], 1);
		book_object(a[0], *(word *)a[7], 1);
		break;
	case DERIVE_KEY: book_object(a[0], *(word *)a[5], 1); break;
	case UNWRAP_KEY: book_object(a[0], *(word *)a[7], 1); break;
	case DESTROY_OBJECT: book_object(a[0], a[1], 0); break;
	case ENCRYPT: case DECRYPT: *(word *)a[4] = overstate(*(word *)a[4]); break;
	case GET_ATTRIBUTE_VALUE: // of one that is read alone
		if (a[3] == 1) ((attribute_t *)a[2])->length = overstate(((attribute_t *)a[2])->length);
		break;
	case GET_TOKEN_INFO: *(word *)(a[1] + 96) |= control[TOKEN_FLAGS]; break; // CK_TOKEN_INFO.flags
	case GET_MECHANISM_LIST:
		if (a[1] != 0) {
			word *list = (word *)a[1], *count = (word *)a[2], kept = 0;
			for (word i = 0; i < *count; i++) {
				if (!listed(HIDDEN, list[i])) list[kept++] = list[i];
			}
			*count = kept;
		}
		break;
	case GENERATE_RANDOM:
		if (control[STUCK]) {
			uint64_t pattern = control[PATTERN];
			for (word i = 0; i < a[2]; i++) ((unsigned char *)a[1])[i] = ((unsigned char *)&pattern)[i % 8];
		}
		break;
	}
	return rv;
}

static word unplugged(int n, word *a) {
	switch (n) {
	case GET_SLOT_LIST:
		if ((unsigned char)a[0]) {
			*(word *)a[2] = 0;
			return OK;
		}
		return ((eight)target->call[n])(a[0], a[1], a[2], 0, 0, 0, 0, 0);
	case GET_TOKEN_INFO: case GET_MECHANISM_LIST: case GET_MECHANISM_INFO: case OPEN_SESSION: return TOKEN_NOT_PRESENT;
	default: return DEVICE_REMOVED;
	}
}

static word call(int n, word *a) {
	control[CALLS + n]++;
	control[INSIDE]++;
	word rv;
	if (control[LATENCY] != 0 && n > GET_MECHANISM_INFO) nap(control[LATENCY]);
	while (control[HANG] == ALL || control[HANG] == (uint64_t)n + 1) nap(500000);
	lose();
	if (n <= GET_INFO || n == GET_SLOT_INFO) {
		rv = after(n, a, forward(n, a));
	} else if (control[UNPLUGGED]) {
		if (control[WEDGES]) wedged = 1;
		rv = unplugged(n, a);
	} else if (wedged && control[WEDGES]) {
		rv = DEVICE_ERROR;
	} else if (control[FAIL_TIMES] != 0 && control[FAIL] == (uint64_t)n + 1) {
		control[FAIL_TIMES]--;
		rv = control[FAIL_CODE];
	} else {
		pthread_rwlock_rdlock(&gate);
		rv = refusal(n, a);
		if (rv == OK) rv = after(n, a, forward(n, a));
		pthread_rwlock_unlock(&gate);
	}
	control[INSIDE]--;
	return rv;
}

#define F(n) static word f##n(word a, word b, word c, word d, word e, word f, word g, word h) { \
	word all[8] = {a, b, c, d, e, f, g, h}; return call(n, all); }
#define TEN(p) F(p##0) F(p##1) F(p##2) F(p##3) F(p##4) F(p##5) F(p##6) F(p##7) F(p##8) F(p##9)
TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) F(60) F(61) F(62) F(63) F(64) F(65) F(66) F(67)
#define P(n) (word (*)())f##n,
#define TENP(p) P(p##0) P(p##1) P(p##2) P(p##3) P(p##4) P(p##5) P(p##6) P(p##7) P(p##8) P(p##9)
static word (*const forwarders[FUNCTIONS])() = {
	TENP() TENP(1) TENP(2) TENP(3) TENP(4) TENP(5) P(60) P(61) P(62) P(63) P(64) P(65) P(66) P(67)
};

word C_GetFunctionList(functions_t **list);

static int load(void) {
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutex_lock(&once);
	Dl_info where;
	char path[4096];
	if (target == NULL && dladdr((void *)load, &where) != 0 &&
	    snprintf(path, sizeof path, "%s.control", where.dli_fname) < (int)sizeof path) {
		int fd = open(path, O_RDWR | O_CLOEXEC);
		void *map = fd < 0 ? MAP_FAILED : mmap(NULL, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (fd >= 0) close(fd);
		if (map != MAP_FAILED) {
			control = map;
			losses = control[LOSSES];
			void *library = dlopen((char *)map + TARGET_AT, RTLD_NOW);
			word (*list)(functions_t **) = library == NULL ? NULL : (word (*)(functions_t **))dlsym(library, "C_GetFunctionList");
			if (list != NULL && list(&target) == OK && target != NULL) {
				self.version = target->version;
				memcpy(self.call, forwarders, sizeof self.call);
				self.call[GET_FUNCTION_LIST] = (word (*)())C_GetFunctionList;
			}
		}
	}
	pthread_mutex_unlock(&once);
	return target != NULL;
}

word C_GetFunctionList(functions_t **list) {
	if (list == NULL || !load()) return GENERAL_ERROR;
	*list = &self;
	return OK;
}
