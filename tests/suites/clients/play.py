"""A container's life through docker-py, as its users write it: streams, exit codes, filters, error texts."""

import io
import os
import socket
import tarfile
import threading
import time

import docker
import websocket
from docker import errors


def refused(kind, text, call):
    try:
        call()
    except kind as error:
        assert text in str(error), f"{error} lacks {text!r}"
        return error
    raise AssertionError(f"{text!r} was not refused")


def until(what, holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def running(client):
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    error = refused(errors.ContainerError, "exit status 3", lambda: client.containers.run("busybox", "sh -c 'echo bad >&2; exit 3'"))
    assert error.exit_status == 3 and error.stderr == b"bad\n"
    error.container.remove()
    refused(errors.ImageNotFound, "No such image", lambda: client.api.create_container("absent:1"))
    refused(errors.NotFound, "No such container: nobody", lambda: client.containers.get("nobody"))
    refused(errors.APIError, "executable file not found in $PATH", lambda: client.containers.run("busybox", "no-such-program"))
    client.containers.prune()


def life(client):
    box = client.containers.run(
        "busybox", "sleep 600", name="box", detach=True, labels={"kind": "test"}, environment={"A": "1"},
        mem_limit="64m", healthcheck={"test": ["CMD", "true"], "interval": 200_000_000}, init=True,
    )
    assert box.status in ("created", "running")
    box.reload()
    assert box.status == "running" and box.attrs["HostConfig"]["Memory"] == 64 << 20
    until("healthy", lambda: client.containers.get("box").health == "healthy")
    assert [one.name for one in client.containers.list(filters={"label": "kind=test"})] == ["box"]
    assert client.containers.list(filters={"status": "exited"}) == []
    refused(errors.APIError, "already in use", lambda: client.containers.create("busybox", "true", name="box"))
    code, output = box.exec_run("sh -c 'echo out; echo err >&2; exit 4'", demux=True)
    assert (code, output) == (4, (b"out\n", b"err\n"))
    for _ in range(20):
        assert box.exec_run("id -u", user="1000").output == b"1000\n"
    assert b"".join(box.exec_run("echo streamed", stream=True).output) == b"streamed\n"
    box.pause()
    refused(errors.APIError, "is paused", lambda: box.exec_run("true"))
    box.unpause()
    top = box.top()
    assert top["Titles"][1] == "PID" and any("sleep 600" in row for row in map(" ".join, top["Processes"]))
    box.update(mem_limit="128m", memswap_limit="256m")
    figures = box.stats(stream=False)
    assert figures["memory_stats"]["limit"] == 128 << 20 and figures["name"] == "/box"
    stream = box.stats(decode=True)
    assert next(stream)["id"] == box.id and next(stream)["precpu_stats"]["system_cpu_usage"] > 0
    stream.close()
    box.rename("chest")
    refused(errors.NotFound, "No such container", lambda: client.containers.get("box"))
    box.stop(timeout=0)
    # Its first process of ours passes the signal on, and ends as the command does.
    assert box.wait()["StatusCode"] in (137, 143)
    box.start()
    refused(errors.APIError, "container is running", box.remove)
    box.kill("SIGKILL")
    box.wait(condition="not-running")
    box.remove()


def files(client):
    box = client.containers.create("busybox", "true")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("dir/file")
        entry.size, entry.uid, entry.mode = 4, 77, 0o640
        archive.addfile(entry, io.BytesIO(b"text"))
    assert box.put_archive("/tmp", packed.getvalue())
    stream, stat = box.get_archive("/tmp/dir/file")
    assert stat["name"] == "file" and stat["size"] == 4 and stat["mode"] == 0o640
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        member = archive.getmember("file")
        assert (member.uid, archive.extractfile(member).read()) == (77, b"text")
    refused(errors.NotFound, "Could not find the file /none", lambda: box.get_archive("/none"))
    refused(errors.NotFound, "Could not find the file /none", lambda: box.put_archive("/none", packed.getvalue()))
    refused(errors.APIError, "not a directory", lambda: box.put_archive("/tmp/dir/file", packed.getvalue()))
    assert {"Path": "/tmp/dir/file", "Kind": 1} in box.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(box.export()))) as archive:
        assert "tmp/dir/file" in archive.getnames()
    box.remove()


def streams(client):
    box = client.containers.create("busybox", "cat", stdin_open=True, tty=False)
    ends = client.api.attach_socket(box.id, params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    ends._sock.sendall(b"through\n")
    until("an answer", lambda: box.logs() == b"through\n")
    ends._sock.close()
    # docker-py itself takes WebSockets over tcp only; the library under it takes any connection.
    ours = socket.socket(socket.AF_UNIX)
    ours.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    path = f"ws://localhost/v1.43/containers/{box.id}/attach/ws?stream=1&stdin=1&stdout=1"
    web = websocket.create_connection(path, socket=ours)
    web.send(b"by web\n")
    assert web.recv() == b"by web\n"
    web.close()
    box.remove(force=True)
    # Several see the same terminal, and the keys to leave leave it running.
    box = client.containers.create("busybox", "sh", stdin_open=True, tty=True)
    first = client.api.attach_socket(box.id, params={"stdin": 1, "stdout": 1, "stream": 1})
    second = client.api.attach_socket(box.id, params={"stdout": 1, "stream": 1})
    box.start()
    first._sock.sendall(b"echo $((40 + 2))\n")
    for ends in (first, second):
        seen = b""
        while b"42" not in seen:
            seen += ends._sock.recv(1024)
    first._sock.sendall(b"\x10\x11")
    while first._sock.recv(1024):
        pass
    box.reload()
    assert box.status == "running"
    box.remove(force=True)


def logs(client):
    box = client.containers.run("busybox", "sh -c 'echo one; echo two >&2; sleep 1; echo three'", detach=True)
    assert b"".join(box.logs(stream=True, follow=True)) == b"one\ntwo\nthree\n"
    assert box.logs(stderr=False) == b"one\nthree\n"
    assert box.logs(tail=1) == b"three\n"
    line = box.logs(tail=1, timestamps=True).split(b" ")
    assert line[0].endswith(b"Z") and line[1] == b"three\n"
    assert box.logs(since=int(time.time()) + 60) == b""
    box.remove()


def waiting(client):
    box = client.containers.create("busybox", "sh -c 'exit 5'")
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(client.api.wait(box.id, condition="next-exit")))
    gone = threading.Thread(target=lambda: answers.append(client.api.wait(box.id, condition="removed")))
    waiter.start(), gone.start()
    time.sleep(0.3)
    box.start()
    waiter.join(30)
    assert [one["StatusCode"] for one in answers] == [5]
    box.remove()
    gone.join(30)
    assert [one["StatusCode"] for one in answers] == [5, 5]


def events(client):
    since = int(time.time())
    seen = []
    stream = client.events(decode=True, since=since, filters={"type": "container", "label": "watched"})
    def listen():
        for event in stream:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return
    listener = threading.Thread(target=listen)
    listener.start()
    client.containers.run("busybox", "true", labels=["watched"], remove=True)
    listener.join(30)
    assert [one for one in seen if one != "attach"] == ["create", "start", "die", "destroy"], seen


client = docker.from_env(timeout=60)
assert client.ping()
for part in (running, life, files, streams, logs, waiting, events):
    part(client)
    print(part.__name__)
