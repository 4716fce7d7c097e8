variable "V" { default = "ok2" }
target "base" { args = { A = "over" } 
 annotations = ["c=1"] 
 tags = ["t2"] }
group "g" { targets = ["one"] }
