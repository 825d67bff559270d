//! The stages of a pool between stopped and running, and what dropping the last handle does.

use crate::call::nested::NestedCalls;
use crate::error::Error;
use crate::options::Options;
use crate::supervisor::Supervisor;
use crate::supervisor::workers::Pool;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::system::background::Background;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// A pool with the stage that start and stop change. Dropping it stops the pool at once.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    pub(crate) pool: Arc<Pool>,
    /// Runs the definitions of async tasks.
    pub(crate) definitions: Background,
    /// Runs starts and stops for async tasks.
    pub(crate) changes: Background,
    stage: Mutex<Stage>,
    changed: Condvar,
}

/// How many definitions of async tasks are processed at a time: as many as compile in parallel on usual machines.
const MAX_DEFINITIONS: usize = 4;

/// How many starts and stops of async tasks run at a time. Two, because a stop may wait for a start to finish.
const MAX_CHANGES: usize = 2;

enum Stage {
    Stopped,
    Starting,
    Running(Supervisor),
    Stopping,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stopped => "Stopped",
            Self::Starting => "Starting",
            Self::Running(_) => "Running",
            Self::Stopping => "Stopping",
        })
    }
}

impl Lifecycle {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        let pool = Arc::new(Pool::new(options)?);
        let nested_calls = Arc::downgrade(&pool) as Weak<dyn NestedCalls>;
        // `set` fails only if there is a value already, and the pool is new.
        let _ = pool.nested_calls.set(nested_calls);
        Ok(Self {
            pool,
            definitions: Background::new("wpc-definition", MAX_DEFINITIONS),
            changes: Background::new("wpc-start-stop", MAX_CHANGES),
            stage: Mutex::new(Stage::Stopped),
            changed: Condvar::new(),
        })
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_to(&self, stage: Stage) {
        *self.stage() = stage;
        self.changed.notify_all();
    }

    pub(crate) fn start(&self, count: usize) -> Result<(), Error> {
        let most = usize::try_from(self.pool.options.max_live_instances).unwrap_or(usize::MAX);
        if count == 0 || count > most {
            let problem = format!(
                "the number of workers must be between 1 and {most} (`max_live_instances`), found {count}"
            );
            return Err(Error::InvalidOptions { problems: vec![problem] });
        }
        {
            let mut stage = self.stage();
            if !matches!(*stage, Stage::Stopped) {
                return Err(Error::AlreadyStarted);
            }
            *stage = Stage::Starting;
        }
        match self.bring_up(count) {
            Ok(supervisor) => {
                self.move_to(Stage::Running(supervisor));
                Ok(())
            }
            Err(error) => {
                self.move_to(Stage::Stopped);
                Err(error)
            }
        }
    }

    fn bring_up(&self, count: usize) -> Result<Supervisor, Error> {
        let workers = self.pool.start(count)?;
        match Supervisor::start(&self.pool, &workers) {
            Ok(supervisor) => {
                self.pool.open(&workers);
                Ok(supervisor)
            }
            Err(error) => {
                self.pool.cancel_start(&workers);
                Err(error)
            }
        }
    }

    pub(crate) fn stop(&self, timeout: Duration) {
        let mut stage = self.stage();
        loop {
            match std::mem::replace(&mut *stage, Stage::Stopping) {
                Stage::Running(supervisor) => {
                    drop(stage);
                    self.pool.stop(timeout);
                    supervisor.end();
                    self.move_to(Stage::Stopped);
                    return;
                }
                Stage::Stopped => {
                    *stage = Stage::Stopped;
                    return;
                }
                changing => {
                    // Another thread starts or stops the pool; check again when it has finished.
                    *stage = changing;
                    stage = self.changed.wait(stage).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Drop for Lifecycle {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
        self.pool.events.close();
    }
}
