package pkcs11_test

import (
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// faulty is the real device with planned faults in front of it. A nil hook, and
// one that returns nil, lets the call through.
type faulty struct {
	pkcs11.Cryptoki
	tokenInfo   func(*p11.TokenInfo)
	openSession func() error
	closed      atomic.Int64 // sessions
	logins      atomic.Int64
	create      func() error
	generate    func() error
	unwrap      func() error
	encryptInit func() error
	encrypt     func(size int) error
	sign        func() error
	mechanisms  func([]*p11.Mechanism) []*p11.Mechanism
}

func (f *faulty) interpose(device pkcs11.Cryptoki) pkcs11.Cryptoki {
	f.Cryptoki = device
	return f
}

func fail(hook func() error) error {
	if hook == nil {
		return nil
	}
	return hook()
}

// times returns a hook that fails so often.
func times(n int64, code uint) func() error {
	var left atomic.Int64
	left.Store(n)
	return func() error {
		if left.Add(-1) < 0 {
			return nil
		}
		return p11.Error(code)
	}
}

func (f *faulty) GetTokenInfo(slot uint) (p11.TokenInfo, error) {
	info, err := f.Cryptoki.GetTokenInfo(slot)
	if f.tokenInfo != nil {
		f.tokenInfo(&info)
	}
	return info, err
}

func (f *faulty) GetMechanismList(slot uint) ([]*p11.Mechanism, error) {
	list, err := f.Cryptoki.GetMechanismList(slot)
	if f.mechanisms != nil {
		list = f.mechanisms(list)
	}
	return list, err
}

func (f *faulty) OpenSession(slot, flags uint) (p11.SessionHandle, error) {
	if err := fail(f.openSession); err != nil {
		return 0, err
	}
	return f.Cryptoki.OpenSession(slot, flags)
}

func (f *faulty) CloseSession(s p11.SessionHandle) error {
	f.closed.Add(1)
	return f.Cryptoki.CloseSession(s)
}

func (f *faulty) LoginWith(s p11.SessionHandle, user uint, pin []byte) error {
	f.logins.Add(1)
	return f.Cryptoki.LoginWith(s, user, pin)
}

func (f *faulty) CreateObject(s p11.SessionHandle, t []*p11.Attribute) (p11.ObjectHandle, error) {
	if err := fail(f.create); err != nil {
		return 0, err
	}
	return f.Cryptoki.CreateObject(s, t)
}

func (f *faulty) GenerateKey(s p11.SessionHandle, m []*p11.Mechanism, t []*p11.Attribute) (p11.ObjectHandle, error) {
	if err := fail(f.generate); err != nil {
		return 0, err
	}
	return f.Cryptoki.GenerateKey(s, m, t)
}

func (f *faulty) UnwrapKey(s p11.SessionHandle, m []*p11.Mechanism, under p11.ObjectHandle, wrapped []byte, t []*p11.Attribute) (p11.ObjectHandle, error) {
	if err := fail(f.unwrap); err != nil {
		return 0, err
	}
	return f.Cryptoki.UnwrapKey(s, m, under, wrapped, t)
}

func (f *faulty) EncryptBlocks(s p11.SessionHandle, key p11.ObjectHandle, dst, src []byte) (int, error) {
	if err := fail(f.encryptInit); err != nil {
		return 0, err
	}
	if f.encrypt != nil {
		if err := f.encrypt(len(src)); err != nil {
			clear(dst) // what a device may do that fails half-way
			return 0, err
		}
	}
	return f.Cryptoki.EncryptBlocks(s, key, dst, src)
}

func (f *faulty) Sign(s p11.SessionHandle, message []byte) ([]byte, error) {
	if err := fail(f.sign); err != nil {
		return nil, err
	}
	return f.Cryptoki.Sign(s, message)
}
