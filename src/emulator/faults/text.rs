//! The short form of a fault rule, for the command line.

use super::{FaultRule, Rejection, Step, When};

/// What [`FaultRule::parse`] reads, for help texts.
pub const GRAMMAR: &str = "[person=ID,event=NAME,path=PREFIX,share=0.01:]STEP[*TIMES],…[,repeat]; \
     STEP is ok, a status (503), a status with Retry-After (429/30), reset, lost, garbage, \
     slow/MILLISECONDS, trickle/MILLISECONDS, reject (207) or reject200";

impl FaultRule {
    /// Reads the short form: `500*3, reset, ok` or `person=42: 429/30, repeat`.
    ///
    /// `reset` closes the connection after the request was done, `lost` before.
    ///
    /// # Errors
    /// A sentence that names what cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (conditions, steps) = match text.rsplit_once(':') {
            Some((conditions, steps)) => (conditions, steps),
            None => ("", text),
        };
        let mut rule = Self { when: parse_when(conditions)?, ..Self::default() };
        for word in steps.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if rule.repeat {
                return Err("repeat comes last".into());
            }
            if word == "repeat" {
                rule.repeat = true;
            } else {
                rule.steps.push(parse_step(word)?);
            }
        }
        if rule.steps.is_empty() {
            return Err(format!("no step in {text:?}; expected {GRAMMAR}"));
        }
        Ok(rule)
    }
}

fn parse_when(text: &str) -> Result<When, String> {
    let mut when = When::default();
    for condition in text.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        match condition.split_once('=') {
            Some(("person", person)) => when.person = Some(person.into()),
            Some(("event", event)) => when.event = Some(event.into()),
            Some(("path", path)) => when.path = Some(path.into()),
            Some(("share", share)) => match share.parse() {
                Ok(share) if (0.0..=1.0).contains(&share) => when.share = Some(share),
                _ => return Err(format!("share {share:?} is not a number from 0 to 1")),
            },
            _ => {
                return Err(format!(
                    "condition {condition:?} is not one of person=, event=, path=, share="
                ));
            }
        }
    }
    Ok(when)
}

fn parse_step(word: &str) -> Result<Step, String> {
    let (word, times) = match word.split_once('*') {
        Some((word, times)) => {
            let times = times.trim().parse().ok().filter(|times| *times > 0);
            (word.trim(), times.ok_or_else(|| format!("{word:?}: how many times?"))?)
        }
        None => (word, 1),
    };
    let (name, argument) = match word.split_once('/') {
        Some((name, argument)) => (name, Some(argument)),
        None => (word, None),
    };
    let millis = || {
        argument
            .and_then(|argument| argument.parse::<u64>().ok())
            .ok_or_else(|| format!("{name} needs milliseconds: {name}/500"))
    };
    let mut step = Step { times, ..Step::default() };
    match name {
        "ok" => {}
        "reset" => step.reset = true,
        "lost" => {
            step.reset = true;
            step.applied = Some(false);
        }
        "garbage" => step.body = Some("<html>this is not JSON".into()),
        "slow" => step.latency_ms = millis()?,
        "trickle" => step.trickle_ms = millis()?,
        "reject" => step.reject = Some(Rejection::default()),
        "reject200" => step.reject = Some(Rejection { status: 200, ..Rejection::default() }),
        status => match status.parse::<u16>() {
            Ok(status) if (200..=599).contains(&status) => {
                step.status = Some(status);
                step.retry_after = argument.map(Into::into);
            }
            _ => return Err(format!("step {word:?} cannot be read; expected {GRAMMAR}")),
        },
    }
    Ok(step)
}
