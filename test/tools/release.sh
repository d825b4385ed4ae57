#!/usr/bin/env bash
# release.sh VERSION ARCH...: packs build/ARCH/ and what is inside it (SBOM) with what an operator copies into dist/, one
# archive for each, and SHA256SUMS. The same commit gives the same bytes: times are the commit's, owners none, names in
# order.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$1
shift
when=$(git log -1 --format=%ct)
rm -rf dist
mkdir -p dist
for arch in "$@"; do
    name=out_amberflo-$version-linux-$arch
    mkdir -p "dist/$name/docs"
    cp "build/$arch/out_amberflo.so" "build/$arch/meterctl" "build/$arch"/*.cdx.json README.md CHANGELOG.md "dist/$name/"
    cp -r conf docker "dist/$name/"
    cp docs/* "dist/$name/docs/"
    chmod -R u=rwX,go=rX "dist/$name"
    tar --create --directory dist --sort=name --mtime="@$when" --owner=0 --group=0 --numeric-owner --format=gnu "$name" |
        gzip --no-name --best >"dist/$name.tar.gz"
    rm -r "dist/$name"
done
cd dist
sha256sum -- *.tar.gz | tee SHA256SUMS
