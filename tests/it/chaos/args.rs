//! `--minutes 10 --seed 7 --at-once 100 --isolation 'repeatable read' --isolated 1 --signals nats
//! --before FILE`.
use std::path::PathBuf;
use std::time::Duration;

/// The task of a run.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) time: Duration,
    /// Decides the order of the faults and of the requests, but not their exact times.
    pub(crate) seed: u64,
    /// Generations at a time.
    pub(crate) at_once: usize,
    /// The default isolation level of a role, which an instance must set right.
    pub(crate) isolation: Option<String>,
    /// Instances that have this role; the others have an ordinary one.
    pub(crate) isolated: usize,
    /// Whether hints go by NATS, which then breaks, too.
    pub(crate) nats: bool,
    /// An older build of the program. All instances begin with it, and each start changes the build.
    pub(crate) before: Option<PathBuf>,
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            time: Duration::from_secs(600),
            seed: u64::from(std::process::id()),
            at_once: 100,
            isolation: None,
            isolated: super::INSTANCES,
            nats: false,
            before: None,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} wants a value"))?;
            let bad = |e: &dyn std::fmt::Display| format!("{word} {value}: {e}");
            match word.as_str() {
                "--minutes" => {
                    let minutes: f64 = value.parse().map_err(|e| bad(&e))?;
                    args.time = Duration::try_from_secs_f64(minutes * 60.0).map_err(|e| bad(&e))?;
                }
                "--seed" => args.seed = value.parse().map_err(|e| bad(&e))?,
                "--at-once" => args.at_once = value.parse().map_err(|e| bad(&e))?,
                "--isolation" => args.isolation = Some(value),
                "--isolated" => args.isolated = value.parse().map_err(|e| bad(&e))?,
                "--signals" => match value.as_str() {
                    "nats" => args.nats = true,
                    "notify" => args.nats = false,
                    _ => return Err(bad(&"nats or notify")),
                },
                "--before" => args.before = Some(PathBuf::from(value)),
                _ => {
                    let known = "--minutes, --seed, --at-once, --isolation, --isolated, --signals, \
                                 --before";
                    return Err(format!("unknown: {word}; known: {known}"));
                }
            }
        }
        Ok(args)
    }
}

/// Arbitrary numbers, the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice for each `user` of a run.
    pub(crate) fn new(seed: u64, user: u64) -> Self {
        let mut dice = Self(seed ^ user.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.roll(2);
        dice
    }

    /// 0 … `below` - 1.
    pub(crate) fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    pub(crate) fn pick(&mut self, below: usize) -> usize {
        usize::try_from(self.roll(below as u64)).unwrap_or_default()
    }
}
