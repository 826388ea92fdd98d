//! A model of the right to write to a generation's log. It has append, take-over, fence, unknown
//! outcomes, cancel, end, pause, crash and hand-over. It tries every order of them for small sizes.
//!
//! It mirrors `src/store/lane.rs`, `src/store/append.rs`, `src/store/takeover.rs`,
//! `src/engine/run/recorder/lane.rs` and `src/engine/fleet/recover.rs`. A change of those changes this model,
//! too. Four mistakes that the protocol invites live here, too; the checker must find them, or it
//! sees nothing.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "model/actions.rs"]
mod actions;
#[path = "model/instance.rs"]
mod instance;
#[path = "model/log.rs"]
mod log;
#[path = "model/properties.rs"]
mod properties;

use std::collections::HashMap;
use std::time::Duration;

use actions::Action;
use instance::Instance;
use log::{Append, Database, Kind, Rows, Statement};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};
use tokio::time::Instant;

/// The protocol, or a mistake in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Right,
    /// Every writer appends at the end, and nothing checks whose turn it is.
    NoFence,
    /// An append whose outcome is unknown is simply made again, at the end.
    BlindRetry,
    /// A take-over leaves the lanes of the old owner open.
    OpenLanes,
    /// A take-over sees the log as it was when its transaction began, before it waited for the
    /// appends under way. This is the isolation level `repeatable read`.
    OldSnapshot,
    /// A lane that replaces an old one goes on with what that one knew, and looks up no epoch.
    UncheckedLane,
}

/// How much of everything there is.
#[derive(Clone, Debug)]
struct Protocol {
    variant: Variant,
    instances: usize,
    generations: usize,
    /// Of each answer.
    tokens: u8,
    /// Crashes, pauses, lost replies, lapsed leases and hand-overs together.
    faults: u8,
    cancels: u8,
    /// Whether a process that died or was paused comes back.
    comes_back: bool,
    /// Whether the beginning of a claim's transaction, and its snapshot, is a step of its own:
    /// twice the states.
    snapshots: bool,
    /// Whether a lane may be replaced because it is old, which counts as a fault.
    renewals: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    database: Database,
    instances: Vec<Instance>,
    /// Transactions whose senders no longer wait for them: they may still be carried out.
    stray: Vec<Statement>,
    faults: u8,
    cancels: u8,
    /// A writer was refused, and the log does not show the reason.
    puzzled: bool,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut instances = vec![Instance::up(self.generations); self.instances];
        for generation in 0..self.generations {
            let first = Append { generation, epoch: 1, seq: 1, kind: Kind::Started };
            instances[0].run(first, 0);
        }
        let log = vec![Rows::started(); self.generations];
        let mut database = Database { log, lanes: vec![None; self.instances] };
        (0..self.instances).for_each(|i| log::open(&mut database, i, 0));
        vec![State {
            database,
            instances,
            stray: Vec::new(),
            faults: self.faults,
            cancels: self.cancels,
            puzzled: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for i in 0..self.instances {
            self.work(state, i, actions);
            self.upkeep(state, i, actions);
            self.misfortune(state, i, actions);
        }
        actions.extend((0..state.stray.len()).flat_map(|n| [Action::Arrive(n), Action::Vanish(n)]));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.apply(&mut state, action);
        state.stray.sort();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

/// Far more states than there are.
const LIMIT: Duration = Duration::from_secs(60);

const SMALL: Protocol = Protocol {
    variant: Variant::Right,
    instances: 2,
    generations: 1,
    tokens: 2,
    faults: 2,
    cancels: 1,
    comes_back: true,
    snapshots: false,
    renewals: false,
};

/// Visits every state that can be reached, or those until a rule is broken; prints how many there
/// were, and what it found.
fn explore(name: &str, protocol: Protocol) -> HashMap<&'static str, String> {
    let watch = Instant::now();
    let checker = protocol
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(LIMIT)
        .spawn_bfs()
        .join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, {depth} deep, {:.1} s", watch.elapsed().as_secs_f64());
    assert!(watch.elapsed() < LIMIT, "not all states were visited");
    let found = checker.discoveries();
    found.into_iter().map(|(name, path)| (name, format!("{:#?}", path.into_actions()))).collect()
}

/// No forbidden state is reached. The states that must be reachable are reached, or the model tests
/// nothing.
fn holds(name: &str, protocol: Protocol) {
    let cancels = protocol.cancels > 0;
    let two_faults = protocol.faults > 1;
    let found = explore(name, protocol);
    for property in properties::all() {
        let way = found.get(property.name);
        match property.expectation {
            Expectation::Sometimes => {
                let out_of_reach = (property.name.contains("cancel") && !cancels)
                    || (property.name == properties::ABSENT_OWNER && !two_faults);
                assert_eq!(way.is_none(), out_of_reach, "reached: {}", property.name);
            }
            Expectation::Always | Expectation::Eventually => {
                assert!(way.is_none(), "{}: {}", property.name, way.unwrap());
            }
        }
    }
}

/// The checker finds the mistake, by one of these rules.
fn fails(protocol: Protocol, rules: &[&str]) {
    let variant = protocol.variant;
    let found = explore(&format!("{variant:?}"), protocol);
    let broken = rules.iter().find(|rule| found.contains_key(**rule));
    let broken = broken.unwrap_or_else(|| panic!("{variant:?} breaks none of {rules:?}"));
    println!("broken: {broken}, by {}", found[broken]);
}

#[test]
fn two_instances_and_one_generation() {
    holds("two instances, one generation", Protocol { snapshots: true, ..SMALL });
}

#[test]
fn three_instances() {
    holds("three instances", Protocol { instances: 3, tokens: 1, cancels: 0, ..SMALL });
}

#[test]
fn two_generations_in_one_transaction() {
    let both = Protocol { generations: 2, tokens: 1, faults: 1, cancels: 0, ..SMALL };
    holds("two generations", both);
}

#[test]
fn lanes_that_are_replaced() {
    holds("lanes that are replaced", Protocol { renewals: true, cancels: 0, ..SMALL });
}

#[test]
fn every_run_ends_whatever_its_order() {
    let checked = properties::all_runs_end(&SMALL).unwrap();
    println!("all runs of {checked} states end");
    let alone = Protocol { comes_back: false, faults: 1, ..SMALL };
    properties::all_runs_end(&alone).unwrap();
}

#[test]
fn without_the_fence_the_log_is_torn() {
    let wrong = Protocol { variant: Variant::NoFence, ..SMALL };
    fails(wrong, &[properties::NO_REPEAT, properties::ONE_WRITER]);
}

#[test]
fn a_blind_retry_repeats_what_was_committed() {
    let wrong = Protocol { variant: Variant::BlindRetry, ..SMALL };
    fails(wrong, &[properties::NO_REPEAT]);
}

#[test]
fn lanes_that_a_take_over_leaves_open_fence_nobody() {
    let wrong = Protocol { variant: Variant::OpenLanes, ..SMALL };
    fails(wrong, &[properties::DURABLE, properties::ONE_WRITER, properties::NO_REPEAT]);
}

#[test]
fn a_claim_that_reads_from_an_older_snapshot_gives_a_seq_away_twice() {
    let wrong = Protocol { variant: Variant::OldSnapshot, snapshots: true, ..SMALL };
    fails(wrong, &[properties::NO_REPEAT, properties::DURABLE]);
}

#[test]
fn a_lane_that_replaces_another_and_looks_up_no_epoch_passes_the_fence() {
    let wrong = Protocol { variant: Variant::UncheckedLane, renewals: true, ..SMALL };
    fails(wrong, &[properties::DURABLE, properties::ONE_WRITER, properties::NO_REPEAT]);
}
