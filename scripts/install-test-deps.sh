#!/bin/sh
# Installs what the tests need besides Go, where it is missing: a C compiler
# (hsm/pkcs11 is the only cgo of the tree), SoftHSM2 (the PKCS #11 device of the
# tests), HAProxy (the balancer of the tests), rsyslog (which receives traces in
# the tests) and strace (which makes disks slow or fail for a process). Says
# clearly what is missing when it cannot.
set -eu

missing=""
command -v haproxy >/dev/null 2>&1 || missing="$missing haproxy"
command -v rsyslogd >/dev/null 2>&1 || [ -x /usr/sbin/rsyslogd ] || missing="$missing rsyslog rsyslog-openssl"
command -v strace >/dev/null 2>&1 || missing="$missing strace"
command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
softhsm=""
for lib in /usr/lib/softhsm /usr/lib/*/softhsm /usr/lib64 /usr/lib64/softhsm /usr/local/lib/softhsm /opt/homebrew/lib/softhsm; do
	[ -e "$lib/libsofthsm2.so" ] && softhsm="$lib"
done
[ -n "$softhsm" ] || missing="$missing softhsm2"
[ -z "$missing" ] && exit 0

say_missing() {
	echo "install-test-deps: the tests need these packages and they are not installed:$missing" >&2
	echo "install-test-deps: $1" >&2
	exit 1
}

command -v apt-get >/dev/null 2>&1 || say_missing "there is no apt-get here; install them with this system's package manager"
as_root=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null 2>&1 || say_missing "installing takes root; run: apt-get install$missing"
	as_root="sudo"
fi
echo "install-test-deps: installing$missing"
# An old package list is tried first: updating it takes the network.
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 && exit 0
$as_root apt-get update >/dev/null || say_missing "apt-get update failed (see above)"
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null ||
	say_missing "apt-get could not install them (see above)"
