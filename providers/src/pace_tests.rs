use std::sync::Arc;

use super::*;

#[derive(Default, Clone)]
struct Fake(Arc<Mutex<(Duration, Vec<u64>)>>);

impl Fake {
    fn slept(&self) -> Vec<u64> {
        self.0.lock().unwrap().1.clone()
    }
}

impl Timer for Fake {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().0
    }

    fn sleep(&self, time: Duration) {
        let mut fake = self.0.lock().unwrap();
        fake.0 += time;
        fake.1.push(time.as_secs());
    }
}

#[test]
fn a_burst_is_free_and_the_rest_is_spaced() {
    let fake = Fake::default();
    let pace = Pace::new(Some(Rate { calls: 10, per: Duration::from_secs(20) }), Box::new(fake.clone()));
    (0..13).for_each(|_| pace.wait());
    assert_eq!(fake.slept(), [2, 2, 2]);
}

#[test]
fn what_the_host_asks_for_is_waited_once() {
    let fake = Fake::default();
    let pace = Pace::new(None, Box::new(fake.clone()));
    pace.refused(Some(Duration::from_secs(7))).unwrap();
    pace.wait();
    pace.answered();
    pace.wait();
    assert_eq!(fake.slept(), [7]);
}

#[test]
fn a_day_is_not_sat_out_and_neither_is_for_ever() {
    let pace = Pace::new(None, Box::new(Fake::default()));
    let day = Some(Duration::from_secs(79_200));
    assert_eq!(pace.refused(day), Err(ProviderError::RateLimited { after: day }));
    let refused = (0..100).position(|_| pace.refused(Some(Duration::from_secs(1))).is_err());
    assert_eq!(refused, Some(REFUSALS as usize));
}
