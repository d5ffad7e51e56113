//! boto3 as a second client, which we didn't write: calls go to a process of `python/client.py`.

use crate::{
    Credentials,
    moto::{python, script},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A client. Every call is one attempt, so that what one request gets is seen.
#[derive(Debug)]
pub struct Boto {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Boto {
    /// A client of EC2 at this address, with this key.
    ///
    /// # Panics
    /// There is no Python with boto3.
    pub fn new(url: &str, region: &str, key: &Credentials) -> Self {
        Self::with(url, region, key, &json!({}))
    }

    /// As `new`; `more` may have `service`, `timeout` in seconds, and `validate: false`, which lets wrong parameters out.
    ///
    /// # Panics
    /// There is no Python with boto3.
    pub fn with(url: &str, region: &str, key: &Credentials, more: &Value) -> Self {
        let mut options = json!({
            "endpoint_url": url,
            "region_name": region,
            "aws_access_key_id": key.id,
            "aws_secret_access_key": key.secret,
            "aws_session_token": key.token,
        });
        if let (Some(options), Some(more)) = (options.as_object_mut(), more.as_object()) {
            options.extend(more.clone());
        }
        let python = python().expect("scripts/setup-moto.sh");
        let mut child = Command::new(python)
            .arg(script("client.py"))
            .arg(options.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        let (input, output) = child.stdin.take().zip(child.stdout.take()).expect("its pipes");
        Self { child, input, output: BufReader::new(output) }
    }

    fn exchange(&mut self, request: &Value) -> Value {
        writeln!(self.input, "{request}").and_then(|()| self.input.flush()).expect("boto3 takes calls");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("boto3 answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{request}: {e}: {line}"))
    }

    /// A call, by its name in Python: what came, or the error's code and HTTP status.
    ///
    /// # Errors
    /// EC2's code, or the name of boto3's exception with status 0.
    ///
    /// # Panics
    /// The client itself has ended.
    pub fn call(&mut self, call: &str, args: &Value) -> Result<Value, (String, u64)> {
        outcome(self.exchange(&json!({ "call": call, "args": args })))
    }

    /// As `call`, for one that must succeed.
    ///
    /// # Panics
    /// It doesn't.
    pub fn ok(&mut self, call: &str, args: &Value) -> Value {
        self.call(call, args).unwrap_or_else(|(code, status)| panic!("{call} {args}: {status} {code}"))
    }

    /// As `call`, for one that must fail: its code.
    ///
    /// # Panics
    /// It doesn't.
    pub fn refused(&mut self, call: &str, args: &Value) -> String {
        match self.call(call, args) {
            Ok(got) => panic!("{call} {args}: {got}"),
            Err((code, _)) => code,
        }
    }

    /// Calls at once, in as many threads: what each gave, in their order.
    ///
    /// # Panics
    /// The client itself has ended.
    pub fn parallel(&mut self, calls: &[(&str, Value)], threads: usize) -> Vec<Result<Value, (String, u64)>> {
        let calls: Vec<_> = calls.iter().map(|(call, args)| json!({ "call": call, "args": args })).collect();
        let all = self.exchange(&json!({ "parallel": calls, "threads": threads }));
        all.as_array().expect("a list").iter().cloned().map(outcome).collect()
    }
}

fn outcome(mut answer: Value) -> Result<Value, (String, u64)> {
    match answer.get_mut("ok") {
        Some(got) => Ok(got.take()),
        None => Err((answer["error"].as_str().unwrap_or_default().into(), answer["status"].as_u64().unwrap_or(0))),
    }
}

impl Drop for Boto {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
