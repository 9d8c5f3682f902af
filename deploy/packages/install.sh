#!/bin/sh
# Installs packages of Starling on this host:
#
#   sh install.sh --from DIR-OR-URL --aggregators agg-1:7400,agg-2:7400 node
#   curl -fsS URL/install.sh | sh -s -- --from URL node
#   sh install.sh --from URL --join agg-1:7400,agg-2:7400 --token-file token node
#
# Programs: node, aggregator, dashboard, tool (the command starling). Packages come from DIR or URL, by default from the folder
# of this script; each is checked against SHA256SUMS beside it before anything is installed. deb where there is dpkg, else rpm.
#
# --from DIR-OR-URL         where the packages and SHA256SUMS are
# --signers FILE            take them only with a SHA256SUMS.sig of a key in FILE, which has the line that deploy/packages/sign
#                           printed and came another way than the packages (wants ssh-keygen)
# --aggregators LIST        for a node or a dashboard: HOST:PORT,HOST:PORT. Written to the environment file of the service,
#                           unless that says it already
# --node-id NAME            for a node; by default its host name
# --join HOST:PORT,...      become a member of the cluster of these aggregators, by the join token in
# --token-file FILE         (`starling token create`); "-" reads it from standard input. It is emptied when it was used
#
# A second run changes nothing. Nothing secret is taken as an argument: arguments are seen by every user of the host.
# All is inside of functions, and the last line calls them: a script that was cut on its way does nothing.

set -eu

say() { printf 'install.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
usage() {
	say "$1"
	say "usage: sh install.sh [--from DIR-OR-URL] [--signers FILE] [--aggregators HOST:PORT,...] [--node-id NAME] [--join HOST:PORT,... --token-file FILE] node|aggregator|dashboard|tool..."
	exit 2
}

# fetch NAME: from $from to $work.
fetch() {
	case $from in
	http://* | https://*)
		if command -v curl >/dev/null; then
			curl -fsS --retry 3 --output "$work/$1" "$from/$1"
		elif command -v wget >/dev/null; then
			wget -q -O "$work/$1" "$from/$1"
		else
			die "neither curl nor wget is there"
		fi
		;;
	*) cp -- "$from/$1" "$work/$1" ;;
	esac || die "no $1 at $from"
}

# signed: SHA256SUMS is, by one of $signers; names as in deploy/packages/sign.
signed() {
	[ -r "$signers" ] || die "--signers $signers: no such file"
	command -v ssh-keygen >/dev/null || die "ssh-keygen is missing, which checks signatures: install openssh-client (rpm: openssh)"
	fetch SHA256SUMS.sig
	said=$(ssh-keygen -Y verify -f "$signers" -I starling-packages -n starling-packages -s "$work/SHA256SUMS.sig" 2>&1 <"$work/SHA256SUMS") ||
		die "SHA256SUMS is not signed by a key in $signers: nothing was installed ($said)"
}

# newest PACKAGE: its file for this host, as SHA256SUMS lists it.
newest() {
	case $family in
	deb) pattern="^[0-9a-f]\{64\}  $1_[^_]*_$arch\.deb\$" ;;
	rpm) pattern="^[0-9a-f]\{64\}  $1-[0-9][^ ]*\.$arch\.rpm\$" ;;
	esac
	grep "$pattern" "$work/SHA256SUMS" | sed 's/^[0-9a-f]*  //' | sort -V | tail -n 1
}

# setting PROGRAM KEY VALUE: to the environment file, once. VALUE is TOML.
setting() {
	file=$environment/starling-$1
	variable=STARLING_$(printf %s "$1" | tr '[:lower:]' '[:upper:]')__$2
	if [ -f "$file" ] && grep -q "^$variable=" "$file"; then
		grep -qxF "$variable='$3'" "$file" || say "$file sets $variable already: left as it is"
		return 0
	fi
	mkdir -p "$environment"
	printf "%s='%s'\n" "$variable" "$3" >>"$file"
	chmod 644 "$file"
}

# become_member PROGRAM: of the cluster of $join, unless it is one.
become_member() {
	set -- "$1" $(printf %s "$join" | tr ',' ' ')
	program=$1
	shift
	if [ "$program" = node ] && [ -n "$node_id" ]; then set -- "$@" --name "$node_id"; fi
	code=0
	"starling-$program" join "$@" --token-file "$token_file" || code=$?
	case $code in
	0) ;;
	# A second run of this script.
	12) return 0 ;;
	*) die "starling-$program is installed and not a member (exit code $code): mend what it says, then run starling-$program join" ;;
	esac
	if [ -d /run/systemd/system ]; then systemctl restart "starling-$program.service"; fi
}

main() {
	from='' signers='' aggregators='' node_id='' join='' token_file='' programs=''
	while [ $# -gt 0 ]; do
		case $1 in
		--from | --signers | --aggregators | --node-id | --join | --token-file)
			[ $# -ge 2 ] || usage "$1 wants a value"
			case $1 in
			--from) from=${2%/} ;;
			--signers) signers=$2 ;;
			--aggregators) aggregators=$2 ;;
			--node-id) node_id=$2 ;;
			--join) join=$2 ;;
			--token-file) token_file=$2 ;;
			esac
			shift
			;;
		node | aggregator | dashboard | tool) programs="$programs $1" ;;
		*) usage "unknown argument $1" ;;
		esac
		shift
	done
	[ -n "$programs" ] || usage "no program is named"
	case $aggregators in *[!A-Za-z0-9.:,_\[\]-]*) usage "--aggregators $aggregators: HOST:PORT,HOST:PORT" ;; esac
	case $node_id in *[!a-z0-9._-]*) usage "--node-id $node_id: characters are a-z, 0-9, '.', '_' and '-'" ;; esac
	case $join in *[!A-Za-z0-9.:,_\[\]-]*) usage "--join $join: HOST:PORT,HOST:PORT" ;; esac
	[ -z "$join" ] || [ -n "$token_file" ] || usage "--join wants --token-file FILE"
	members=$(for program in $programs; do [ "$program" = tool ] || echo "$program"; done | sort -u | wc -l)
	[ -z "$join" ] || [ "$members" = 1 ] || usage "--join is for one program: a token is for one role"
	[ -z "$token_file" ] || [ "$token_file" = - ] || token_file=$(cd -- "$(dirname -- "$token_file")" && pwd)/$(basename -- "$token_file")
	[ -n "$from" ] || from=$(dirname -- "$0")
	[ "$(id -u)" = 0 ] || die "installing wants root: sudo sh install.sh ..."

	if command -v dpkg >/dev/null; then
		family=deb arch=$(dpkg --print-architecture) environment=${STARLING_ENVIRONMENT_DIR:-/etc/default}
	elif command -v rpm >/dev/null; then
		family=rpm arch=$(uname -m) environment=${STARLING_ENVIRONMENT_DIR:-/etc/sysconfig}
	else
		die "neither dpkg nor rpm is there: copy the programs, see docs/operations/containers.md for images"
	fi

	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	# apt reads packages as a user of its own.
	chmod 755 "$work"
	fetch SHA256SUMS
	if [ -n "$signers" ]; then signed; fi
	set --
	for program in $programs; do
		case $program in tool) package=starling ;; *) package=starling-$program ;; esac
		file=$(newest "$package")
		[ -n "$file" ] || die "no $family of $package for $arch in $from/SHA256SUMS"
		fetch "$file"
		set -- "$@" "$file"
	done
	for file in "$@"; do
		(cd "$work" && grep "  $file\$" SHA256SUMS | sha256sum -c - >/dev/null 2>&1) ||
			die "$file is not what SHA256SUMS says: nothing was installed"
	done

	# Before the package, so that the first start has them.
	for program in $programs; do
		case $program in node | dashboard)
			if [ -n "$aggregators" ]; then
				setting "$program" AGGREGATORS "[\"$(printf %s "$aggregators" | sed 's/,/", "/g')\"]"
			fi
			;;
		esac
		if [ "$program" = node ] && [ -n "$node_id" ]; then setting node NODE_ID "$node_id"; fi
	done

	cd "$work"
	if [ $family = deb ]; then
		for file in "$@"; do shift && set -- "$@" "./$file"; done
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o Dpkg::Options::=--force-confold "$@" </dev/null
	elif command -v dnf >/dev/null; then
		dnf install -y "$@" </dev/null
	elif command -v zypper >/dev/null; then
		zypper --non-interactive install --allow-unsigned-rpm "$@" </dev/null
	else
		rpm -U --replacepkgs "$@" </dev/null
	fi
	if [ $family = rpm ] && [ -d /run/systemd/system ]; then
		# Of rpms the preset decides, and most say no; who asked for a program by name wants it to run.
		for program in $programs; do
			if [ "$program" != tool ]; then systemctl enable --now "starling-$program.service"; fi
		done
	fi
	if [ -n "$join" ]; then
		for program in $programs; do
			if [ "$program" != tool ]; then become_member "$program"; fi
		done
	fi
	say "installed:$programs"
}

main "$@"
