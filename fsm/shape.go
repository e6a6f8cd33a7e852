package fsm

// The shapes of ids and texts. Every string that gets into the state has been
// held to one of them, so that no record grows past a bound and no index key
// is ambiguous.

// isUUID tells whether s is a UUID in lower case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !isLowerHex(s[i]) {
			return false
		}
	}
	return true
}

// isHex tells whether s is that many digits of lower-case hex.
func isHex(s string, digits int) bool { return len(s) == digits && only(s, isLowerHex) }

// isAccessKeyID tells whether s is 20 characters of A-Z and 0-9.
func isAccessKeyID(s string) bool {
	return len(s) == 20 && only(s, func(b byte) bool { return b >= 'A' && b <= 'Z' || isDigit(b) })
}

// isLabel tells whether s names a region, an account, a user, a node or a
// kind of module: 1 to 64 letters, digits and . _ - @
func isLabel(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && only(s, func(b byte) bool {
		return isLetter(b) || isDigit(b) || b == '.' || b == '_' || b == '-' || b == '@'
	})
}

// isAddress tells whether s can be a host and port or a URL: 1 to 512 visible
// ASCII characters. Whether somebody answers there is for others to find out.
func isAddress(s string) bool {
	return len(s) >= 1 && len(s) <= 512 && only(s, func(b byte) bool { return b > ' ' && b < 0x7f })
}

func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func isLetter(b byte) bool   { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }
func isDigit(b byte) bool    { return b >= '0' && b <= '9' }
func isLowerHex(b byte) bool { return isDigit(b) || b >= 'a' && b <= 'f' }
