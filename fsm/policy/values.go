package policy

import (
	"net/netip"
	"strings"
)

// parseBool reads true and false, in any case of letters.
func parseBool(s string) (value, ok bool) {
	return strings.EqualFold(s, "true"), strings.EqualFold(s, "true") || strings.EqualFold(s, "false")
}

// parseNumber reads an integer of at most 15 digits.
func parseNumber(s string) (int64, bool) {
	digits, negative := strings.CutPrefix(s, "-")
	if len(digits) < 1 || len(digits) > 15 {
		return 0, false
	}
	var n int64
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(digits[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// parseNetwork reads an address or a network in CIDR notation.
func parseNetwork(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		address, err := netip.ParseAddr(s)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, false
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), true
	}
	network, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return network.Masked(), true
}

// parseDate reads a time of RFC 3339 with Z or an offset, a date alone, or
// seconds since 1970, as Unix ms. Fractions of a second are cut off.
func parseDate(s string) (int64, bool) {
	if seconds, ok := parseNumber(s); ok {
		return seconds * 1000, len(s) <= 12
	}
	year, ok1 := digits(s, 0, 4, 1970, 9999)
	month, ok2 := digits(s, 5, 2, 1, 12)
	day, ok3 := digits(s, 8, 2, 1, 31)
	if !ok1 || !ok2 || !ok3 || s[4] != '-' || s[7] != '-' || day > daysIn(year, month) {
		return 0, false
	}
	at := daysSince1970(year, month, day) * 86_400
	if len(s) == 10 {
		return at * 1000, true
	}
	hour, ok1 := digits(s, 11, 2, 0, 23)
	minute, ok2 := digits(s, 14, 2, 0, 59)
	second, ok3 := digits(s, 17, 2, 0, 59)
	if !ok1 || !ok2 || !ok3 || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	at += hour*3600 + minute*60 + second
	rest := s[19:]
	if fraction, has := strings.CutPrefix(rest, "."); has {
		rest = strings.TrimLeft(fraction, "0123456789")
		if len(rest) == len(fraction) {
			return 0, false
		}
	}
	if rest == "Z" {
		return at * 1000, true
	}
	hours, ok1 := digits(rest, 1, 2, 0, 23)
	minutes, ok2 := digits(rest, 4, 2, 0, 59)
	if !ok1 || !ok2 || len(rest) != 6 || rest[3] != ':' || rest[0] != '+' && rest[0] != '-' {
		return 0, false
	}
	offset := hours*3600 + minutes*60
	if rest[0] == '-' {
		offset = -offset
	}
	return (at - offset) * 1000, true
}

// digits reads n digits at a place, in bounds.
func digits(s string, at, n int, least, most int64) (int64, bool) {
	if len(s) < at+n {
		return 0, false
	}
	var value int64
	for _, c := range []byte(s[at : at+n]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		value = value*10 + int64(c-'0')
	}
	return value, least <= value && value <= most
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}

// daysSince1970 counts days in the Gregorian calendar, with years that begin in March.
func daysSince1970(year, month, day int64) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	return year*365 + year/4 - year/100 + year/400 + (month*153-457)/5 + day - 719_469
}
