//! Further processes in a running container.

use crate::{container::config::StringOrList, shape::shape};

shape! {
    /// `POST /containers/ID/exec`.
    ExecCreate {
        /// `user`, `uid`, `user:group` or `uid:gid`; empty for the container's.
        user: String,
        /// Every capability.
        privileged: bool,
        /// Gives it a terminal.
        tty: bool,
        /// Height and width of the client's terminal.
        #[serde(skip_serializing_if = "Option::is_none")]
        console_size: Option<[u32; 2]>,
        /// The client gives its input.
        attach_stdin: bool,
        /// The client sees its error output.
        attach_stderr: bool,
        /// The client sees its output.
        attach_stdout: bool,
        /// Keys that leave it running.
        detach_keys: String,
        /// Variables beside the container's.
        env: Option<Vec<String>>,
        /// Where it starts; empty for the container's.
        working_dir: String,
        /// The command.
        cmd: Option<StringOrList>,
    }
}

shape! {
    /// The answer to a creation.
    ExecCreated {
        /// The exec's id.
        id: String,
    }
}

shape! {
    /// `POST /exec/ID/start`.
    ExecStart {
        /// Nobody listens.
        detach: bool,
        /// It has a terminal.
        tty: bool,
        /// Height and width of the client's terminal.
        #[serde(skip_serializing_if = "Option::is_none")]
        console_size: Option<[u32; 2]>,
    }
}

shape! {
    /// `GET /exec/ID/json`.
    ExecInspect {
        /// Its id.
        #[serde(rename = "ID")]
        id: String,
        /// Whether it runs.
        running: bool,
        /// Its exit status; `null` until it has one.
        exit_code: Option<i64>,
        /// What it runs.
        process_config: ProcessConfig,
        /// The client gives its input.
        open_stdin: bool,
        /// The client sees its error output.
        open_stderr: bool,
        /// The client sees its output.
        open_stdout: bool,
        /// It is done and may be forgotten.
        can_remove: bool,
        /// The container it is in.
        #[serde(rename = "ContainerID")]
        container_id: String,
        /// Keys that leave it running.
        detach_keys: String,
        /// Its process, or 0.
        pid: i64,
    }
}

shape! {
    /// What an exec runs. Docker writes these names in lower case.
    ProcessConfig {
        /// It has a terminal.
        #[serde(rename = "tty")]
        tty: bool,
        /// The program.
        #[serde(rename = "entrypoint")]
        entrypoint: String,
        /// Its arguments.
        #[serde(rename = "arguments")]
        arguments: Vec<String>,
        /// Every capability.
        #[serde(rename = "privileged")]
        privileged: bool,
        /// The user it runs as.
        #[serde(rename = "user", skip_serializing_if = "String::is_empty")]
        user: String,
    }
}
