//! The thread that answers calls.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::sys;
use crate::sys::notify::{self, Reply, Request};
use crate::traced::calls::{Answer, Connecting, Waiting, answer};
use crate::traced::supervise::Supervisor;

/// How long to wait for who listens before looking again.
const PAUSE: Duration = Duration::from_millis(2);

/// Answers calls until there is nobody to make one.
pub(crate) fn answer_all(supervisor: &'static Supervisor, listener: &Arc<OwnedFd>) {
    // Nobody would be answered any more, and wait for ever.
    let _end = EndWithMe;
    loop {
        match notify::receive(listener.as_fd()) {
            Ok(Some(request)) => answer_one(supervisor, listener, &request),
            Ok(None) => {}
            Err(_) => return,
        }
    }
}

struct EndWithMe;

impl Drop for EndWithMe {
    fn drop(&mut self) {
        if std::thread::panicking() {
            sys::exit_now(255);
        }
    }
}

fn answer_one(supervisor: &'static Supervisor, listener: &Arc<OwnedFd>, request: &Request) {
    let answered = answer(&supervisor.world, &mut supervisor.lock(), request);
    let reply = match answered {
        Ok(Answer::Value(value)) => Reply::Returns(value),
        Ok(Answer::Happens) => Reply::Happens,
        Err(errno) => Reply::Fails(errno),
        Ok(Answer::File {
            file,
            is_closed_on_exec,
        }) => return give(listener, request, &file, is_closed_on_exec),
        Ok(Answer::Replaces {
            file,
            number,
            is_closed_on_exec,
        }) => return replace(listener, request, &file, number, is_closed_on_exec),
        Ok(Answer::Waits(waiting)) => {
            return apart(listener, *request, move |listener, request| {
                open_pipe(supervisor, listener, request, &waiting);
            });
        }
        Ok(Answer::Connects(connecting)) => {
            return apart(listener, *request, move |listener, request| {
                go_on_connecting(listener, request, &connecting);
            });
        }
    };
    // It fails where the thread is gone.
    notify::answer(listener.as_fd(), request, reply).ok();
}

fn give(listener: &OwnedFd, request: &Request, file: &OwnedFd, is_closed_on_exec: bool) {
    let given = notify::answer_with(listener.as_fd(), request, file.as_fd(), is_closed_on_exec);
    if let Err(errno) = given {
        // It has as many as it may have.
        notify::answer(listener.as_fd(), request, Reply::Fails(errno)).ok();
    }
}

fn replace(
    listener: &OwnedFd,
    request: &Request,
    file: &OwnedFd,
    number: i32,
    is_closed_on_exec: bool,
) {
    let (listener, file) = (listener.as_fd(), file.as_fd());
    let reply = match notify::replace(listener, request, file, number, is_closed_on_exec) {
        Ok(()) => Reply::Returns(0),
        Err(errno) => Reply::Fails(errno),
    };
    notify::answer(listener, request, reply).ok();
}

/// Has a call be answered that waits for another, which has to be answered, too.
fn apart(
    listener: &Arc<OwnedFd>,
    request: Request,
    answer: impl FnOnce(&OwnedFd, &Request) + Send + 'static,
) {
    let own = Arc::clone(listener);
    let started = std::thread::Builder::new().spawn(move || {
        let _end = EndWithMe;
        answer(&own, &request);
    });
    if started.is_err() {
        notify::answer(listener.as_fd(), &request, Reply::Fails(Errno::NOMEM)).ok();
    }
}

/// Opens an end of a pipe once the other is.
fn open_pipe(
    supervisor: &Supervisor,
    listener: &OwnedFd,
    request: &Request,
    waiting: &Arc<Waiting>,
) {
    supervisor
        .lock()
        .waiting
        .insert(request.tid, Arc::clone(waiting));
    // If it is gone already, nobody will wake us.
    if notify::is_waiting(listener.as_fd(), request) {
        match waiting.open() {
            Ok((file, is_closed_on_exec)) => give(listener, request, &file, is_closed_on_exec),
            Err(errno) => drop(notify::answer(
                listener.as_fd(),
                request,
                Reply::Fails(errno),
            )),
        }
    }
    supervisor.lock().waiting.remove(&request.tid);
}

fn go_on_connecting(listener: &OwnedFd, request: &Request, connecting: &Connecting) {
    while notify::is_waiting(listener.as_fd(), request) {
        let connected = connecting.attempt().and_then(|()| {
            let flags = fcntl_getfl(&connecting.socket)?;
            fcntl_setfl(&connecting.socket, flags - OFlags::NONBLOCK)
        });
        match connected {
            Err(Errno::AGAIN) => std::thread::sleep(PAUSE),
            Err(errno) => {
                notify::answer(listener.as_fd(), request, Reply::Fails(errno)).ok();
                return;
            }
            Ok(()) => {
                let (number, is_closed_on_exec) = (connecting.number, connecting.is_closed_on_exec);
                return replace(
                    listener,
                    request,
                    &connecting.socket,
                    number,
                    is_closed_on_exec,
                );
            }
        }
    }
}
