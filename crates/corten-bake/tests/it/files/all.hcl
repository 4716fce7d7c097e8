group "default" { targets = ["db", "webapp-dev"] }
variable "TAG" { default = "latest" }
variable "N" { default = 2 }
variable "DEBUG" { default = false }
variable "HOME2" { default = null }
variable "UNSET" {}
base = "reg/${lower("APP")}"
function "increment" { 
  params = [number]
  result = number + 1
}
function "tagit" {
  params = [repo]
  variadic_params = tags
  result = [for t in tags : "${repo}:${t}"]
}
target "webapp-dev" {
  dockerfile = "Dockerfile.webapp"
  tags = ["docker.io/username/webapp:${TAG}"]
  args = { n = increment(N), d = DEBUG ? "y" : "n", u = HOME2, e = UNSET, p = BAKE_LOCAL_PLATFORM, c = BAKE_CMD_CONTEXT }
  labels = { "a.b" = "x", l = "${base}" }
}
target "webapp-release" {
  inherits = ["webapp-dev"]
  platforms = ["linux/amd64", "linux/arm64"]
  tags = tagit("x/y", "1", "2")
  annotations = ["index:a=b", "a=b", "a=b"]
}
target "db" {
  dockerfile = "Dockerfile.db"
  tags = ["docker.io/username/db"]
  cache-from = ["type=registry,ref=a/b", "user/app:c"]
  cache-to = [{type="local",dest="path/x"},"type=inline"]
  output = ["type=docker", "out", {type="registry"}]
  secret = ["type=env,id=K", {id="f",src="a/b"}, {type="file",id="g",src="c"}]

  attest = ["type=provenance,mode=max", {type="sbom"}, "type=provenance,mode=min"]
  no-cache = true
  pull = DEBUG
  network = "host"
  no-cache-filter = ["a","b","a"]
  extra-hosts = { h = "1.2.3.4" }
  entitlements = ["security.insecure"]
}
target "child" {
  inherits = ["db", "webapp-dev"]
  secret = ["id=h"]
  cache-from = ["type=registry,ref=z"]
  cache-to = []
  no-cache-filter = ["z"]
  attest = ["type=provenance,disabled=true"]
  entitlements = ["network.host"]
}
target "linked" {
  contexts = { base = "target:db", src = "../src", img = "docker-image://alpine" }
  context = "app"
  platforms = ["linux/amd64"]
}
target "ref" {
  tags = target.db.tags
  args = { x = target.webapp-dev.args.n, y = target.linked.context, z = target.db.output[0].type }
}
target "inline" {
  dockerfile-inline = <<EOT
FROM alpine
RUN echo ${TAG} $${X} %%{y}
  indented
EOT
}
target "inline2" {
  dockerfile-inline = <<-EOT
    FROM alpine
      RUN x
    %{ if DEBUG }RUN debug%{ else }RUN nodebug%{ endif }
    %{ for x in ["a","b"] ~}
    ${x}
    %{ endfor ~}
    end
  EOT
}
target "m" {
  name = "m-${tgt}-${replace(v, ".", "-")}"
  matrix = { tgt = ["foo", "bar"], v = ["1.0", "2.0"] }
  target = tgt
  args = { V = v }
}
target "m2" {
  matrix = { item = [ { tgt = "x", os = "a" }, { tgt = "y", os = "b" } ] }
  name = item.tgt
  args = { OS = item.os }
}
target "f" {
  args = {
    a = join("-", ["a", "b"])
    b = upper("abc")
    c = length(["a"])
    d = jsonencode({b=1,a=[1,"x",null,true]})
    e = format("%05.2f|%5s|%-5s|%d|%q|%v|%%", 3.14159, "a", "b", 42, "q\"x", [1,2])
    f = replace("1.2.3", "/\\.\\d/", "x")
    g = regex_replace("a1b22", "[0-9]+", "<$0>")
    h = regex("(\\w+)-(\\w+)", "ab-cd")[1]
    i = coalesce(null, "x")
    j = contains(["a"], "a")
    k = element(["a","b","c"], 4)
    l = split(",", "a,b,c")[1]
    m = substr("hello", 1, 3)
    n = title("hello world")
    o = trim("xxaxx", "x")
    p = try(nothing, "fallback")
    q = can(nothing.x)
    r = sanitize("a/b:c")
    s = range(3)[2]
    t = sort(["b","a"])[0]
    u = keys({b=1,a=2})[0]
    v = lookup({a="x"}, "b", "dflt")
    w = merge({a="1"},{b="2"})["b"]
    x = [for p in setproduct(["a","b"],["c"]): p][1][0]
    y = basename("/a/b/c.txt")
    z = dirname("/a/b/c.txt")
    aa = 7 / 2
    ab = 7 % 3
    ac = pow(2, 10)
    ad = parseint("ff", 16)
    ae = indexof(["a","b"], "b")
    af = zipmap(["a"],["b"])["a"]
    ag = base64encode("hi")
    ah = urlencode("a b/c?d=e&f")
    ai = indent(2, "a\nb")
    aj = chomp("a\n")
    ak = strlen("héé")
    al = formatlist("%s-%s", ["a","b"], "x")[1]
    am = flatten([["a"],["b",["c"]]])[2]
    an = distinct(["a","a","b"])[1]
    ao = slice(["a","b","c"],1,3)[0]
    ap = [for k, v in {a="1",b="2"}: "${k}=${v}" if v != "1"][0]
    aq = {for x in ["a","b"]: x => upper(x)}["b"]
    ar = ([{n="p"},{n="q"}][*].n)[1]
    as = -5 + 3 * 2
    at = !DEBUG && true || false
    au = 1 == 1 ? 1.5 : 2
    av = ceil(1.2) + floor(1.8) + abs
    aw = "a${"b${"c"}"}d"
    ax = "line\nbreak\ttab \u00e9 \"q\""
    ay = max(1,5,3) - min(4,2)
    az = int(3.7)
    ba = signum(-3)
    bb = reverse("abc")
    bc = reverselist(["a","b"])[0]
    bd = chunklist(["a","b","c"],2)[1][0]
    be = compact(["","a"])[0]
    bf = trimprefix("v1","v")
    bg = trimsuffix("a.txt",".txt")
    bh = trimspace(" a ")
    bi = and(true,false)
    bj = join(",", [for x in setunion(["b"],["a"]): x])
    bk = equal(1,1)
    bl = regexall("[0-9]+","a1b22")[1]
    bm = 10/4*2
    bn = 1000000*1000000
    bo = 0.1+0.2
    bp = log(8, 2)
    bq = hasindex(["a"],1)
    br = jsondecode("{\"a\":[1,2]}").a[1]
    bs = "%{ if true ~} yes %{ endif }"
    bt = absolute(-4)
  }
}
abs = absolute(-1)
