# shellcheck shell=bash disable=SC2034,SC2154
# A store of 10,000 names: what one more costs, and what looking at all of them does.

prepare() {
    title '10,000 names in one store'
    note 'all rows but the first two look at every name; umoci and skopeo work on the same layout, as plain files'
    printf one >one
    tar --create --file one.tar one
    corten --root "$CASE/ours" import --quiet one.tar --tag base
    python3 - "$CASE/ours/index.json" <<'NAMES'
import copy, json, sys
with open(sys.argv[1]) as file:
    index = json.load(file)
[entry] = index["manifests"]
for number in range(10000):
    named = copy.deepcopy(entry)
    named["annotations"]["io.containerd.image.name"] = f"docker.io/acme/app-{number}:v{number}"
    named["annotations"]["org.opencontainers.image.ref.name"] = f"v{number}"
    index["manifests"].append(named)
with open(sys.argv[1], "w") as file:
    json.dump(index, file, separators=(",", ":"))
NAMES
    cp -a ours theirs
}

round() {
    measure 'corten tag' corten --root "$CASE/ours" tag base docker.io/acme/new:v1
    measure 'corten rm' corten --root "$CASE/ours" rm docker.io/acme/new:v1
    measure 'corten images' corten --root "$CASE/ours" images --quiet
    measure 'corten gc' corten --root "$CASE/ours" gc
    measure 'corten df' corten --root "$CASE/ours" df
    measure 'corten fsck' corten --root "$CASE/ours" fsck
    measure 'umoci tag' umoci tag --image theirs:v1 new
    measure 'umoci rm' umoci rm --image theirs:new
    measure 'umoci ls' umoci ls --layout theirs
    measure 'skopeo copy (a name more)' skopeo copy --quiet --insecure-policy oci:theirs:v1 oci:theirs:other
}
