//! A compiler and the processes that it starts. They end together if the command is interrupted, or if the compiler misbehaves.
//!
//! A compiler is the leader of a process group of its own. With a terminal as standard input it stays in the command's group,
//! because it may ask the terminal for a password, which only the foreground group can do. The terminal sends its signals to
//! all of that group.

use std::io;
use std::process::{Child, Command, ExitStatus};

/// A running compiler. Only one runs at a time.
pub(super) struct Group {
    pub(super) child: Child,
}

impl Group {
    /// Starts the compiler, unless the command was interrupted.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        system::spawn(command).map(|child| Self { child })
    }

    /// Waits until the compiler has ended.
    pub(super) fn wait(mut self) -> io::Result<ExitStatus> {
        system::wait(&mut self.child)
    }

    /// Ends the compiler and its processes.
    pub(super) fn kill(mut self) -> io::Result<()> {
        system::kill();
        // On other systems, and if it is not in a group of its own.
        self.child.kill()?;
        self.wait().map(drop)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        system::forget();
    }
}

pub(super) use system::{is_interrupted, listen};

#[cfg(unix)]
mod system {
    use super::*;
    use crate::exit_code::ExitCode;
    use crate::failure::Failure;
    use crate::signal_thread;
    use rustix::process::{
        Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
    };
    use std::io::IsTerminal as _;
    use std::os::unix::process::CommandExt as _;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    static STATE: Mutex<State> =
        Mutex::new(State { is_listening: false, is_interrupted: false, running: None });

    struct State {
        is_listening: bool,
        /// Whether a signal ended a compiler.
        is_interrupted: bool,
        running: Option<Running>,
    }

    #[derive(Clone, Copy)]
    enum Running {
        Group(Pid),
        Process(Pid),
    }

    fn state() -> MutexGuard<'static, State> {
        STATE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that ends the running compiler at a signal. Without a running compiler it ends the command.
    pub(crate) fn listen() -> Result<(), Failure> {
        if std::mem::replace(&mut state().is_listening, true) {
            return Ok(());
        }
        signal_thread::listen(|_| {
            let mut state = state();
            if state.running.is_none() {
                ExitCode::Interrupted.exit();
            }
            state.is_interrupted = true;
            end(&state);
        })
    }

    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        // The signal thread waits until the compiler is known.
        let mut state = state();
        if state.is_interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let is_leader = !io::stdin().is_terminal();
        if is_leader {
            command.process_group(0);
        }
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        state.running = Some(if is_leader { Running::Group(pid) } else { Running::Process(pid) });
        Ok(child)
    }

    pub(super) fn wait(child: &mut Child) -> io::Result<ExitStatus> {
        let pid = Pid::from_child(child);
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), ended))?;
        // Another process may get its id as soon as it is reaped, so the signal thread forgets the id first.
        let mut state = state();
        state.running = None;
        child.wait()
    }

    pub(super) fn kill() {
        end(&state());
    }

    pub(super) fn forget() {
        state().running = None;
    }

    /// Whether a signal ended a compiler.
    pub(crate) fn is_interrupted() -> bool {
        state().is_interrupted
    }

    fn end(state: &State) {
        // They may have ended by themselves.
        let _ = match state.running {
            Some(Running::Group(leader)) => kill_process_group(leader, Signal::KILL),
            Some(Running::Process(compiler)) => kill_process(compiler, Signal::KILL),
            None => Ok(()),
        };
    }
}

#[cfg(not(unix))]
mod system {
    use super::*;
    use crate::failure::Failure;

    /// Without process groups the system's default applies: an interrupt ends all processes of the console.
    pub(crate) fn listen() -> Result<(), Failure> {
        Ok(())
    }

    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        command.spawn()
    }

    pub(super) fn wait(child: &mut Child) -> io::Result<ExitStatus> {
        child.wait()
    }

    pub(super) fn kill() {}

    pub(super) fn forget() {}

    pub(crate) fn is_interrupted() -> bool {
        false
    }
}
