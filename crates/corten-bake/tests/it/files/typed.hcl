variable "L" { 
  type = list(string)
  default = ["a"]
}
variable "NUM" { type = number }
variable "S" {
  type = set(string)
  default = ["b","a","b"]
}
variable "M" {
  type = map(number)
  default = { x = 1 }
}
variable "T" { type = tuple([string, number, bool]) 
 default = ["a", 1, true] }
variable "O" {
  type = object({ a = string, b = optional(number) })
  default = { a = "x" }
}
variable "B" { type = bool
 default = "true" }
variable "V" {
  default = "ok"
  validation {
    condition = V != "bad"
    error_message = "V is ${V}"
  }
}
variable "ANY" { type = any
 default = [1,"x"] }
target "default" {
  args = {
    l = join("+", L), n = NUM, s = join("+", [for x in S: x]), m = M.x, t = "${T[0]}${T[1]}${T[2]}", o = O.a, b = B ? 1 : 2, v = V
  }
}
target "base" {
  args = { A = "1", B = "2" }
  labels = { l = "1" }
  tags = ["t1"]
  platforms = ["linux/amd64"]
  annotations = ["a=1"]
  output = ["type=image"]
}
target "one" {
  inherits = ["base"]
  args = { A = "x", C = null }
  annotations = ["b=1"]
}
target "two" {
  inherits = ["one", "base"]
  args = { D = "d" }
  context = "./dir"
  dockerfile = "../Dockerfile"
  description = "d ${V}"
}
target "three" {
  inherits = ["base", "one"]
  tags = []
  target = ""
}
target "default" { labels = { again = "yes" } }
target "cyc" { inherits = ["cyc2"] }
target "cyc2" { inherits = ["cyc"] 
 args = { z = "z"} }
target "quote" { args = { a = "$${x} %%{y} $x" }
 labels = { "k" = "$${x}" } 
 tags = ["a$${b}"] }
target "self" { contexts = { x = "target:self" } }
target "l1" { contexts = { x = "target:l2" } }
target "l2" { contexts = { x = "target:l1" } }
target "plat" { contexts = { x = "target:plat2" }
 platforms = ["linux/amd64","linux/arm64"] }
target "plat2" { platforms = ["linux/amd64","linux/s390x"] }
group "g" { targets = ["one","two","h"] 
 description = "x" }
group "h" { targets = ["three","one"] }
