//! Tier "ec2": the storage system of the EBS backend's tests, by itself. boto3 is the client, moto judges signatures, botocore's
//! model judges requests and replies: none of them is ours.
#![allow(missing_docs, clippy::unwrap_used)]

mod auth;
mod check;
mod faults;
mod ground;
mod load;
mod states;
mod tokens;
mod volumes;
