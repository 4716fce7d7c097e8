# shellcheck shell=bash disable=SC2154
# What bake files define.

case_bake_builds_several_targets() {
    need skopeo
    mkdir -p app
    echo hello >app/hello
    cat >app/Dockerfile <<'DOCKERFILE'
FROM start
ARG VERSION
COPY hello /hello-$VERSION
LABEL version=$VERSION
DOCKERFILE
    cat >docker-bake.hcl <<'BAKE'
variable "TAG" { default = "1" }
function "name" {
  params = [version]
  result = "example.org/app:${TAG}-${replace(version, ".", "-")}"
}
group "default" { targets = ["app", "tools"] }
target "common" {
  context = "app"
  platforms = ["linux/amd64", "linux/arm64"]
}
target "app" {
  inherits = ["common"]
  name = "app-${replace(version, ".", "-")}"
  matrix = { version = ["1.0", "2.0"] }
  args = { VERSION = version }
  contexts = { start = "target:start" }
  tags = [name(version)]
  output = ["type=oci,dest=${replace(version, ".", "-")}.tar"]
}
target "start" {
  inherits = ["common"]
  dockerfile-inline = "FROM scratch\nCOPY hello /start\n"
}
target "tools" {
  context = "app"
  dockerfile-inline = "FROM scratch\nCOPY hello /tool\n"
  output = ["out"]
}
BAKE
    echo 'target "tools" { labels = { from = "override" } }' >docker-bake.override.hcl
    corten --root "$CASE/store" bake --var TAG=5 --metadata-file meta.json >digests
    equal 'digests' 3 "$(wc -l <digests)"
    equal 'targets' 'app-1-0 app-2-0 start tools' "$(jq -r 'keys | join(" ")' meta.json)"
    local version platform
    for version in 1-0 2-0; do
        for platform in amd64 arm64; do
            equal "label of $version for $platform" "${version/-/.}" \
                "$(skopeo inspect --override-arch "$platform" "oci-archive:$version.tar" | jq -r .Labels.version)"
            equal "files of $version" "hello-${version/-/.} start" \
                "$(corten --root "$CASE/store" ls "example.org/app:5-$version" --platform "linux/$platform" | paste -sd' ')"
        done
        equal "index of $version" "$(jq -r ".\"app-$version\".\"containerimage.digest\"" meta.json)" \
            "sha256:$(skopeo inspect --raw "oci-archive:$version.tar" | sha256sum | cut -d' ' -f1)"
    done
    equal 'a directory' hello "$(cat out/tool)"
    corten --root "$CASE/store" bake --print tools >printed
    equal 'what the override adds' override "$(jq -r .target.tools.labels.from printed)"
}
