// attention_block.wgsl - included inside main of the forms for many rows: the block of rows of this
// workgroup, the keys that they see, and where keys and values start.
  let item = id.y * count.x + id.x;
  if (item >= params.items) {
    return;
  }
  let place = place_of(item);
  let seen = seen_by_any(place);
  let start_k = k_start(place);
  let start_v = v_start(place);
