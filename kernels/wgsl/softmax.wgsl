// softmax.wgsl - softmax, or its logarithm (LOG), of dense rows. A team of lanes does a row
// (team.wgsl); each keeps PER units in registers, or the row is read again where PER is 0.
struct Params {
  rows: u32,
  units: u32, // of a row
  x: u32,     // first unit
  y: u32,
}
#include team
#include team_units

fn weight(v: Unit) -> Unit {
#if VEC
  return vec4<f32>(exp_special(v.x), exp_special(v.y), exp_special(v.z), exp_special(v.w));
#else
  return exp_special(v);
#end
}

#include team_main
  let row = min(wanted, params.rows - 1u); // all lanes are needed at barriers
  let own = lane % TEAM;
  let units = params.units;
  let row_x = params.x + row * units;
  let row_y = params.y + row * units;
  // Lanes without a unit of their own fold one that another has too, and add nothing.
  var largest = unit_max(load(row_x + min(own, units - 1u)));
  var sum = 0.0;
#if PER
#for P PER
  let i${P} = own + ${P}u * TEAM;
  let has${P} = i${P} < units;
  let v${P} = load(row_x + min(i${P}, units - 1u));
  largest = max(largest, unit_max(v${P}));
#end
  largest = team_max(largest, lane, 0u);
#for P PER
  let e${P} = weight(v${P} - largest);
  sum += select(0.0, unit_sum(e${P}), has${P});
#end
#else
  for (var i = own; i < units; i += TEAM) { largest = max(largest, unit_max(load(row_x + i))); }
  largest = team_max(largest, lane, 0u);
  for (var i = own; i < units; i += TEAM) { sum += unit_sum(weight(load(row_x + i) - largest)); }
#end
  sum = team_sum(sum, lane, 1u);
  if (wanted >= params.rows) { return; }
#if LOG
  let log_sum = log_special(sum);
#end
#if PER
#for P PER
#if LOG
  if (has${P}) { store(row_y + i${P}, v${P} - largest - log_sum); }
#else
  if (has${P}) { store(row_y + i${P}, e${P} / sum); }
#end
#end
#else
  for (var i = own; i < units; i += TEAM) {
    let v = load(row_x + i) - largest;
#if LOG
    store(row_y + i, v - log_sum);
#else
    store(row_y + i, weight(v) / sum);
#end
  }
#end
}
