//! FOG: its keys, its hosts, and the images that the inventory names.

use super::Lab;
use super::rounds::{Check, Report};
use laas_core::inventory::Host;
use laas_core::parallel;
use laas_fog::{Fog, FogError, Id};
use std::collections::BTreeMap;
use std::sync::Arc;

const FOG: &str = "fog";
const AT_ONCE: u64 = 4;

pub fn checks(lab: &Arc<Lab>) -> Vec<Check> {
    let lab = lab.clone();
    vec![Check::new(FOG, None, move |report| {
        if let Err(failure) = look(&lab, report) {
            report.failed(FOG, failure);
        }
    })]
}

fn look(lab: &Lab, report: &mut Report) -> Result<(), laas_core::Failure> {
    let Ok(config) = lab.config.fog() else {
        // Said of the configuration already.
        return Ok(());
    };
    let fog = Fog::new(config, lab.call)?;
    let known = fog.hosts()?;
    for host in &lab.hosts {
        let name = &host.fog_name;
        let count = known.iter().filter(|h| h.name == *name).count();
        if count != 1 {
            let name = name.clone();
            report.failed_for(
                FOG,
                Some(host.name.as_str()),
                FogError::HostNotUnique { name, count },
            );
        }
    }
    let wanted: Vec<_> = images(&lab.hosts).into_iter().collect();
    let judged = parallel::map(&wanted, AT_ONCE, |(image, _)| {
        let Some(id) = Id::new(*image) else {
            let what = format!("image {image}");
            return Err(FogError::Missing { what });
        };
        fog.check_deployable(&fog.image(id)?)
    });
    for ((_, hosts), verdict) in wanted.iter().zip(judged) {
        if let Err(error) = verdict {
            report.failed_for(FOG, Some(&hosts.join(", ")), error);
        }
    }
    Ok(())
}

/// The images that the inventory names, each with the hosts that it names them for.
fn images(hosts: &[Host]) -> BTreeMap<u64, Vec<String>> {
    let mut images: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for host in hosts {
        for image in [host.ubuntu_image, host.centos_image, host.suse_image]
            .into_iter()
            .flatten()
        {
            let of = images.entry(image).or_default();
            if !of.iter().any(|name| name == host.name.as_str()) {
                of.push(host.name.to_string());
            }
        }
    }
    images
}
