//! What moto doesn't know: since when things are as they are, and which tokens were used.

use crate::{Element, Rules, settings::ms};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::OwnedMutexGuard;

/// A volume that was made or used through the proxy.
#[derive(Debug, Clone)]
pub struct Volume {
    /// When it was made; long ago, if that was not seen.
    pub made: Option<Instant>,
    /// It will end in `error`.
    pub broken: bool,
    /// Its attachment, also while it is detaching.
    pub attachment: Option<Attachment>,
    /// Its last modification.
    pub modification: Option<Modification>,
    /// When a snapshot was last begun.
    pub snapshot: Option<Instant>,
}

/// An attachment.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The instance.
    pub instance: String,
    /// The device's name.
    pub device: String,
    /// When it was begun, as moto says it.
    pub time: String,
    /// When it was begun.
    pub since: Instant,
    /// When its end was begun.
    pub leaving: Option<Instant>,
}

/// A modification.
#[derive(Debug, Clone)]
pub struct Modification {
    /// When it was begun.
    pub since: Instant,
    /// The volume before.
    pub before: Element,
    /// moto's word on it.
    pub item: Element,
}

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was begun.
    pub made: Instant,
    /// Size of its volume in GiB.
    pub size: i64,
}

/// A client token that made a volume.
#[derive(Debug, Clone)]
pub struct Token {
    /// The parameters, without the token.
    pub parameters: Vec<(String, String)>,
    /// The reply.
    pub reply: crate::Reply,
    /// The volume.
    pub volume: String,
}

/// The facts.
#[derive(Debug, Default)]
pub struct Facts {
    /// By id.
    pub volumes: HashMap<String, Volume>,
    /// By id.
    pub snapshots: HashMap<String, Snapshot>,
    /// By token.
    pub tokens: HashMap<String, Token>,
    /// Volumes that were made through the proxy, and those that are being made.
    pub living: usize,
}

/// The facts, and locks by name so that a rule and what it allows are one step.
#[derive(Debug, Default)]
pub struct World {
    facts: Mutex<Facts>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl World {
    /// The facts, for a moment.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else works on this object. Who takes several takes a token first, then a volume, then an instance.
    pub async fn alone(&self, object: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(object.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

impl Facts {
    /// What is known of a volume; made long ago if it was not seen before.
    pub fn volume(&mut self, id: &str) -> &mut Volume {
        let old = Volume { made: None, broken: false, attachment: None, modification: None, snapshot: None };
        self.volumes.entry(id.into()).or_insert(old)
    }

    /// Volumes that are leaving this instance: device, volume, attachment.
    pub fn leaving<'a>(
        &'a self,
        instance: &'a str,
        rules: &'a Rules,
    ) -> impl Iterator<Item = (&'a String, &'a Attachment)> {
        self.volumes.iter().filter_map(move |(id, volume)| {
            let attachment = volume.attached(rules)?;
            (attachment.instance == instance && attachment.leaving.is_some()).then_some((id, attachment))
        })
    }
}

impl Volume {
    /// Whether Describe calls don't show it yet.
    pub fn is_hidden(&self, rules: &Rules) -> bool {
        self.made.is_some_and(|made| made.elapsed() < ms(rules.hidden_ms))
    }

    /// Whether it is still being made.
    pub fn is_creating(&self, rules: &Rules) -> bool {
        self.made.is_some_and(|made| made.elapsed() < ms(rules.creating_ms))
    }

    /// Its attachment, unless it is gone.
    pub fn attached(&self, rules: &Rules) -> Option<&Attachment> {
        let gone = |since: Instant| since.elapsed() >= ms(rules.detaching_ms);
        self.attachment.as_ref().filter(|attachment| !attachment.leaving.is_some_and(gone))
    }

    /// EC2's word for how it is.
    pub fn state(&self, rules: &Rules) -> &'static str {
        if self.is_creating(rules) {
            "creating"
        } else if self.broken {
            "error"
        } else if self.attached(rules).is_some() {
            "in-use"
        } else {
            "available"
        }
    }
}

impl Attachment {
    /// EC2's word for how it is.
    pub fn state(&self, rules: &Rules) -> &'static str {
        match self.leaving {
            Some(_) => "detaching",
            None if self.since.elapsed() < ms(rules.attaching_ms) => "attaching",
            None => "attached",
        }
    }

    /// As EC2 lists it with a volume.
    pub fn item(&self, volume: &str, rules: &Rules) -> Element {
        let text = [
            ("volumeId", volume),
            ("instanceId", &self.instance),
            ("device", &self.device),
            ("status", self.state(rules)),
            ("attachTime", &self.time),
            ("deleteOnTermination", "false"),
        ];
        Element::node("item", text.map(|(name, text)| Element::leaf(name, text)).to_vec())
    }
}

impl Modification {
    /// EC2's word for how it is, and its progress in percent.
    pub fn state(&self, rules: &Rules) -> (&'static str, u8) {
        let since = self.since.elapsed();
        if since < ms(rules.modifying_ms) {
            ("modifying", 0)
        } else if since < ms(rules.modifying_ms + rules.optimizing_ms) {
            ("optimizing", 50)
        } else {
            ("completed", 100)
        }
    }
}

impl Snapshot {
    /// Whether it is still being made.
    pub fn is_pending(&self, rules: &Rules) -> bool {
        self.made.elapsed() < ms(rules.snapshot_ms)
    }
}
