#!/usr/bin/env bash
# release.sh VERSION ARCH...: packs build/ARCH/, what is inside it (SBOM, licences) and what an operator copies into dist/:
# an archive, a .deb and an .rpm for each, and SHA256SUMS. The same commit gives the same bytes: times are the commit's,
# owners none, names in order.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$1
shift
when=$(git log -1 --format=%ct)
rm -rf dist build/packages
mkdir -p dist build/packages

# Packages are compared by their versions, which begin with a digit: 1.2.0-3-gabc, three commits after 1.2.0, is 1.2.0+3.gabc.
package_version=${version#v}
package_version=${package_version/-/+}
package_version=${package_version//-/.}
[[ $package_version =~ ^[0-9]+\.[0-9] ]] || package_version=0~$package_version
# The pipeline of the package loads the output itself.
sed 's,^\[SERVICE\]$,&\n    plugins_file              /etc/fluent-bit/amberflo/plugins.conf,; s,^\( *Parsers_File  *\)\(amberflo\),\1/etc/fluent-bit/amberflo/\2,;
     s,^#     fluent-bit -e .*,# Loaded by /etc/fluent-bit/fluent-bit.conf: @INCLUDE amberflo/fluent-bit.conf,' conf/fluent-bit.conf >build/packages/fluent-bit.conf
# The manual and the completions come from the commands themselves: what is typed stands in one place.
go build -ldflags "-X out_amberflo/plugin.Version=$version" -o build/packages/meterctl ./cmd/meterctl
build/packages/meterctl man | gzip --no-name --best >build/packages/meterctl.1.gz
for shell in bash zsh fish; do
    build/packages/meterctl completion $shell >build/packages/meterctl.$shell
done

for arch in "$@"; do
    name=out_amberflo-$version-linux-$arch
    mkdir -p "dist/$name/docs"
    cp "build/$arch/out_amberflo.so" "build/$arch/meterctl" "build/$arch"/*.cdx.json "build/$arch/THIRD-PARTY-LICENCES" ./*.md LICENSE "dist/$name/"
    cp -r conf docker "dist/$name/"
    cp docs/* "dist/$name/docs/"
    chmod -R u=rwX,go=rX "dist/$name"
    tar --create --directory dist --sort=name --mtime="@$when" --owner=0 --group=0 --numeric-owner --format=gnu "$name" |
        gzip --no-name --best >"dist/$name.tar.gz"
    rm -r "dist/$name"
    for kind in deb rpm; do
        ARCH=$arch VERSION=$package_version SOURCE_DATE_EPOCH=$when bin/nfpm package --config docker/packages/nfpm.yaml --packager $kind --target dist/
    done
done
cd dist
sha256sum -- *.tar.gz *.deb *.rpm | tee SHA256SUMS
