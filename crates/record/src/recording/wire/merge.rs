//! A merge in the JSON: what was not found out is `null` there.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::message::Message;
use crate::recording::{Merge, Verdict, Written};

#[derive(Serialize, Deserialize)]
struct Wire {
    verdict: Verdict,
    reason: Option<Message>,
    inputs: u64,
    lines: Option<u64>,
    // Older recordings lack it: no line was split then.
    #[serde(default)]
    long_lines: Option<u64>,
    bytes: u64,
    lost: Option<u64>,
    duplicated: Option<u64>,
    reordered: Option<u64>,
    torn: Option<u64>,
    foreign: Option<u64>,
    unterminated: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written_lines: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written_bytes: Option<u64>,
}

impl Serialize for Merge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counted = |count: u64| (self.verdict != Verdict::Unverifiable).then_some(count);
        let wire = Wire {
            verdict: self.verdict,
            reason: self.reason.clone(),
            inputs: self.inputs,
            lines: counted(self.lines),
            long_lines: counted(self.long_lines).or(self.written.as_ref().map(|written| written.long_lines)),
            bytes: self.bytes,
            lost: counted(self.lost),
            duplicated: counted(self.duplicated),
            reordered: counted(self.reordered),
            torn: counted(self.torn),
            foreign: counted(self.foreign),
            unterminated: self.unterminated,
            written_lines: self.written.as_ref().map(|written| written.lines),
            written_bytes: self.written.as_ref().map(|written| written.bytes),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merge, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let counted = |count: Option<u64>, key: &'static str| match wire.verdict {
            Verdict::Unverifiable => Ok(0),
            _ => count.ok_or_else(|| serde::de::Error::missing_field(key)),
        };
        Ok(Merge {
            verdict: wire.verdict,
            lines: counted(wire.lines, "lines")?,
            long_lines: wire.long_lines.filter(|_| wire.verdict != Verdict::Unverifiable).unwrap_or(0),
            lost: counted(wire.lost, "lost")?,
            duplicated: counted(wire.duplicated, "duplicated")?,
            reordered: counted(wire.reordered, "reordered")?,
            torn: counted(wire.torn, "torn")?,
            foreign: counted(wire.foreign, "foreign")?,
            reason: wire.reason,
            inputs: wire.inputs,
            bytes: wire.bytes,
            unterminated: wire.unterminated,
            written: match (wire.written_lines, wire.written_bytes, wire.long_lines) {
                (Some(lines), Some(bytes), Some(long_lines)) => Some(Box::new(Written { lines, bytes, long_lines })),
                _ => None,
            },
        })
    }
}
