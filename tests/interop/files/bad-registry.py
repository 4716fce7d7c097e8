"""A registry on loopback that misbehaves; how is what the repository is called. Writes its port to a file."""

import hashlib
import http.server
import json
import sys
import threading

LAYER = b"\0" * 1024
OCI = "application/vnd.oci.image."


def descriptor(kind, content):
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return {"mediaType": OCI + kind, "digest": digest, "size": len(content)}


CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [descriptor("", LAYER)["digest"]]},
    }
).encode()
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": descriptor("config.v1+json", CONFIG),
        "layers": [descriptor("layer.v1.tar", LAYER)],
    }
).encode()
NEVER = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, content, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self):
        parts = self.path.split("/")
        if len(parts) < 5:
            return self.answer(200, b"{}")
        how, kind, what = parts[2], parts[3], parts[4]
        if how == "closes":
            self.close_connection = True
            return
        if how == "refused":
            errors = {"errors": [{"code": "DENIED", "message": "not for you"}]}
            return self.answer(403, json.dumps(errors).encode(), Content_Type="application/json")
        if how == "sign-in":
            return self.answer(401, b"", WWW_Authenticate='Basic realm="here"')
        if how == "gone":
            return self.answer(404, b"")
        if kind == "manifests":
            if how == "not-json":
                return self.answer(200, b"<html>", Content_Type=OCI + "manifest.v1+json")
            digest = descriptor("", MANIFEST)["digest"]
            content = MANIFEST + b" " if how == "wrong-digest" else MANIFEST
            return self.answer(
                200, content, Content_Type=OCI + "manifest.v1+json", Docker_Content_Digest=digest
            )
        if what == descriptor("", CONFIG)["digest"]:
            return self.answer(200, CONFIG)
        if how == "stalls":
            self.send_response(200)
            self.send_header("Content-Length", str(len(LAYER)))
            self.end_headers()
            self.wfile.write(LAYER[:100])
            self.wfile.flush()
            NEVER.wait()
        return self.answer(200, LAYER[:-1] + b"x" if how == "wrong-layer" else LAYER)

    do_HEAD = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open(sys.argv[1], "w", encoding="ascii") as file:
    file.write(str(server.server_port))
server.serve_forever()
