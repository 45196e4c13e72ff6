#pragma once

namespace fastloss {

void register_accumulate();
void register_boxes();
void register_columns();
void register_elementwise();
void register_overlap();
void register_rowwise();
void register_scale();
void register_update_rows();

}  // namespace fastloss
