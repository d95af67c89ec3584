//! A step's turn in its stage: waiting, work, end, told in this order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Event, EventSink, Step, StepLayer, StepOutcome, WaitingFor};

/// Tells what becomes of a step, and measures how long it works and waits.
#[derive(Debug)]
pub struct Turn<'a> {
    events: &'a Arc<dyn EventSink>,
    step: Step,
    came: Instant,
    waited: Duration,
}

impl<'a> Turn<'a> {
    /// It is the step's turn.
    pub fn new(events: &'a Arc<dyn EventSink>, step: Step) -> Turn<'a> {
        Turn {
            events,
            step,
            came: Instant::now(),
            waited: Duration::ZERO,
        }
    }

    /// Says that the step waits.
    pub fn tell_waiting(&self, on: WaitingFor) {
        let step = self.step.clone();
        self.events.event(Event::StepWaiting { step, on });
    }

    /// The step has waited since then.
    pub fn waited_since(&mut self, then: Instant) {
        self.waited += then.elapsed();
    }

    /// The step begins to work.
    pub fn begin(&self, text: String) {
        let step = self.step.clone();
        self.events.event(Event::StepBegun { step, text });
    }

    /// The step is taken from this place of the cache.
    pub fn tell_cached(&self, place: String) {
        let step = self.step.clone();
        self.events.event(Event::StepCached { step, place });
    }

    /// A step that began has ended.
    pub fn end(self, outcome: StepOutcome, layer: StepLayer) {
        self.events.event(Event::StepEnded {
            took: self.came.elapsed().saturating_sub(self.waited),
            waited: self.waited,
            step: self.step,
            outcome,
            layer,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::Stage;

    #[test]
    fn the_end_tells_work_and_waiting_apart() {
        let heard: Arc<Mutex<Vec<Event>>> = Arc::default();
        let keep = Arc::clone(&heard);
        let sink: Arc<dyn EventSink> = Arc::new(move |event| keep.lock().unwrap().push(event));
        let name = "builder".to_owned();
        let step = Step {
            stage: Stage { number: 0, name },
            number: 3,
            total: 7,
        };
        let mut turn = Turn::new(&sink, step);
        turn.tell_waiting(WaitingFor::SameStep);
        turn.waited_since(turn.came);
        turn.begin("RUN x".to_owned());
        turn.end(StepOutcome::Ran, StepLayer::None);
        let heard = heard.lock().unwrap();
        let [waiting, begun, ended] = heard.as_slice() else {
            panic!("{heard:?}");
        };
        assert!(matches!(waiting, Event::StepWaiting { .. }));
        assert!(
            matches!(begun, Event::StepBegun { step, .. } if step.to_string() == "builder 3/7")
        );
        let Event::StepEnded { took, waited, .. } = ended else {
            panic!("{ended:?}");
        };
        // All of the time until it began was waiting.
        assert!(waited > &Duration::ZERO && took < &Duration::from_mins(1));
    }
}
