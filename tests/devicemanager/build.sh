#!/bin/sh
# Builds devicemanager against one release of Kubernetes and prints the path of
# the binary.
#
#   build.sh VERSION [CACHE]        for example: build.sh 1.34.4
#
# CACHE is where the generated go.mod and the binary go; it defaults to
# ${XDG_CACHE_HOME:-$HOME/.cache}/chandler/devicemanager. The Go module and build caches
# are the usual ones.
set -eu

version=${1:?usage: build.sh VERSION [CACHE]}
version=${version#v}
cache=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/chandler/devicemanager}
minor=$(echo "$version" | cut -d. -f2)
source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$cache/$version

mkdir -p "$work"
work=$(cd "$work" && pwd)
rm -f "$work"/*.go "$work"/*.s
cp "$source"/*.go "$source"/*.s "$work"
cd "$work"

# Kubernetes' own go.mod names its staging modules with version v0.0.0; outside
# its repository each one must be replaced by the release that goes with it.
if [ ! -f go.mod ]; then
	upstream=$(cd / && go mod download -json "k8s.io/kubernetes@v$version" |
		sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p')
	language=$(sed -n 's/^go //p' "$upstream")
	{
		echo "module devicemanager"
		echo "go $(printf '%s\n' 1.24.0 "$language" | sort -V | tail -n 1)"
		echo "require k8s.io/kubernetes v$version"
		sed -n 's/^\t\(k8s.io\/[a-z-]*\) v0\.0\.0$/\1/p' "$upstream" | sort -u |
			while read -r module; do
				echo "replace $module => $module v0${version#1}"
			done
	} >go.mod.new
	mv go.mod.new go.mod
fi

# Like Go's own go1.N, the tag k8s1.N holds for release 1.N and all later ones.
tags=$(seq -f 'k8s1.%g' -s, 27 "$minor")
CGO_ENABLED=0 go build -mod=mod -trimpath -tags "$tags" \
	-ldflags "-s -w -X main.kubernetesVersion=v$version" -o devicemanager . >&2
echo "$work/devicemanager"
