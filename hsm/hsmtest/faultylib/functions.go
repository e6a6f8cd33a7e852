package faultylib

// Function names a function of PKCS#11 by its place in CK_FUNCTION_LIST (v2.40).
type Function uint64

// Every stands for all functions.
const Every Function = 999

// The functions that tests name.
const (
	Initialize        Function = 0
	Finalize          Function = 1
	GetSlotList       Function = 4
	GetTokenInfo      Function = 6
	OpenSession       Function = 12
	CloseSession      Function = 13
	Login             Function = 18
	CreateObject      Function = 20
	DestroyObject     Function = 22
	GetAttributeValue Function = 24
	FindObjects       Function = 27
	EncryptInit       Function = 29
	Encrypt           Function = 30
	Decrypt           Function = 34
	SignInit          Function = 42
	Sign              Function = 43
	Verify            Function = 49
	GenerateKey       Function = 58
	GenerateKeyPair   Function = 59
	WrapKey           Function = 60
	UnwrapKey         Function = 61
	GenerateRandom    Function = 64
)
