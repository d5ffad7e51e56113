//! Killing and restarting the driver.

use std::{pin::Pin, process::Command};

/// What the embedder does to the driver for the suite.
pub trait Control: Send + Sync {
    /// Kills the driver (SIGKILL) and starts it again; done when the process runs. The suite waits for Probe itself.
    ///
    /// # Errors
    /// It does not come up: the case fails with this text.
    fn restart(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// `--restart-command`: a line for `sh -c` that kills the driver, starts it again in the background, and ends.
#[derive(Debug, Clone)]
pub struct Shell(pub String);

impl Control for Shell {
    fn restart(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        let line = self.0.clone();
        Box::pin(async move {
            let run = move || Command::new("sh").arg("-c").arg(&line).status();
            match tokio::task::spawn_blocking(run).await {
                Ok(Ok(status)) if status.success() => Ok(()),
                Ok(Ok(status)) => Err(format!("--restart-command ended with {status}")),
                Ok(Err(e)) => Err(format!("--restart-command can't be run: {e}")),
                Err(e) => Err(format!("--restart-command: {e}")),
            }
        })
    }
}
