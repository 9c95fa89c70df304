//! A policy from outside: a script answers by name, or says nothing and the design that it builds on decides.
//!
//! Answers are kept: a script is asked twice about a view it has not seen, and never again. Two different answers are an
//! error, because exploration and replay need decisions that depend on nothing but the view.

use super::policy::{Admission, Policy, PolicyError, Refused, View};
use super::{Design, EnqueueAt, OnComplete, OnFull, Placement, StoreKind};
use crate::sync::Mutex;
use std::collections::HashMap;

/// A decision that a script is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// [`Policy::admit`] at this point.
    Admit(EnqueueAt),
    /// [`Policy::placement`].
    Placement,
    /// [`Policy::full`].
    Full,
    /// [`Policy::refused`]; whether a worker asks.
    Refused(bool),
    /// [`Policy::complete`].
    Complete,
}

impl Ask {
    /// What the decision is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admit(_) => "admit",
            Self::Placement => "placement",
            Self::Full => "full",
            Self::Refused(_) => "refused",
            Self::Complete => "complete",
        }
    }
}

/// What a script says: the name of an answer, or nothing; an error ends the run.
pub type Script = dyn Fn(Ask, View) -> Result<Option<String>, String> + Send + Sync;

/// A design with a script in front of it.
pub struct Scripted {
    design: Design,
    script: Box<Script>,
    answers: Mutex<HashMap<(Ask, View), Option<String>>>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").field("design", &self.design).finish_non_exhaustive()
    }
}

impl Scripted {
    /// `script` in front of `design`.
    pub fn new(design: Design, script: Box<Script>) -> Self {
        Self { design, script, answers: Mutex::new(HashMap::new()) }
    }

    /// The script's answer, parsed by `read`; `None` when it leaves the decision to the design.
    fn answer<T>(
        &self,
        ask: Ask,
        view: View,
        known: &[T],
        name: impl Fn(&T) -> &'static str,
    ) -> Result<Option<T>, PolicyError>
    where
        T: Copy,
    {
        let fail = |reason| PolicyError { ask: ask.name(), view, reason };
        let Some(said) = self.said(ask, view).map_err(fail)? else { return Ok(None) };
        let names = || known.iter().map(&name).collect::<Vec<_>>().join(", ");
        let found = known.iter().copied().find(|value| name(value) == said);
        found.map(Some).ok_or_else(|| fail(format!("{said:?} is no answer; known: {}", names())))
    }

    fn said(&self, ask: Ask, view: View) -> Result<Option<String>, String> {
        let mut answers = self.answers.lock();
        if let Some(said) = answers.get(&(ask, view)) {
            return Ok(said.clone());
        }
        let (said, again) = ((self.script)(ask, view)?, (self.script)(ask, view)?);
        if said != again {
            return Err(format!("two answers to one view, {said:?} and {again:?}"));
        }
        answers.insert((ask, view), said.clone());
        Ok(said)
    }
}

impl Policy for Scripted {
    fn admit(&self, point: EnqueueAt, view: View) -> Result<Admission, PolicyError> {
        if self.design.enqueue_at != point || self.design.depth == 0 {
            return Ok(Admission::Sync); // There is no queue to go to.
        }
        match self.answer(Ask::Admit(point), view, Admission::ALL, |value| value.name())? {
            Some(said) => Ok(said),
            None => self.design.admit(point, view),
        }
    }

    fn placement(&self, view: View) -> Result<Placement, PolicyError> {
        match self.answer(Ask::Placement, view, Placement::ALL, |value| value.name())? {
            Some(said) => Ok(said),
            None => self.design.placement(view),
        }
    }

    fn full(&self, view: View) -> Result<OnFull, PolicyError> {
        match self.answer(Ask::Full, view, OnFull::ALL, |value| value.name())? {
            Some(OnFull::ToDevice) if view.store == StoreKind::Zram => {
                let reason = "\"to_device\" when the device is zram: there is no other".into();
                Err(PolicyError { ask: Ask::Full.name(), view, reason })
            }
            Some(said) => Ok(said),
            None => self.design.full(view),
        }
    }

    fn refused(&self, queued: bool, view: View) -> Result<Refused, PolicyError> {
        match self.answer(Ask::Refused(queued), view, Refused::ALL, |value| value.name())? {
            Some(said) => Ok(said),
            None => self.design.refused(queued, view),
        }
    }

    fn complete(&self, view: View) -> Result<OnComplete, PolicyError> {
        match self.answer(Ask::Complete, view, OnComplete::ALL, |value| value.name())? {
            Some(said) => Ok(said),
            None => self.design.complete(view),
        }
    }
}
