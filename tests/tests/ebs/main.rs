//! Tier "ebs": the backend for Amazon EBS as controllers serve it, against moto's EC2 with signature checks on, through our proxy
//! that adds what EC2 does and moto doesn't, and faults.
#![allow(missing_docs, clippy::unwrap_used)]

mod credentials;
mod faults;
mod rig;
mod suites;
mod throttle;
