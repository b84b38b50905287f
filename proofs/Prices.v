(** The price argument: values of experts and caps of ranks that contradict each other refute a threshold. *)

From Coq Require Import List Arith ZArith QArith Lia Bool Permutation.
From Shardproof Require Import Placement Patterns.
Import ListNotations.
Open Scope Z_scope.

(** Scale [scale_p / scale_q]; one value per expert and replica count; one cap per class; multipliers of the
    load row and the memory row where both are surrogated. *)
Record prices := Prices
  { scale_p : Z; scale_q : Z; values : list (list Z); caps : list Z; surrogate : option (Z * Z) }.

(** What splits have decided: [blocks] share their ranks, the two experts of a pair of [apart] share none. *)
Record decided := Decided { blocks : list (list nat); apart : list (nat * nat) }.

Definition undecided (p : problem) : decided := Decided (map (fun e => [e]) (seq 0 (experts p))) [].

(** Without the block that holds [e]. *)
Definition drop (e : nat) (bs : list (list nat)) : list (list nat) := filter (fun b => negb (mem e b)) bs.

(** Contents that hold both of no pair lie within one of these: one of each pair is left out. *)
Fixpoint leaving_out (pairs : list (nat * nat)) (bs : list (list nat)) : list (list (list nat)) :=
  match pairs with
  | [] => [bs]
  | (a, b) :: rest =>
      if existsb (mem a) bs && existsb (mem b) bs then leaving_out rest (drop a bs) ++ leaving_out rest (drop b bs)
      else leaving_out rest bs
  end.

Section Argument.
Variables (p : problem) (T : Z) (d : decided) (x : prices).

(** Value of one of [r] replicas, [r] from 1. *)
Definition value (e r : nat) : Z := nth (r - 1) (nth e (values x) []) 0.

Definition scaled (e r : nat) : Z := scale_p x * load p e / (scale_q x * Z.of_nat r).

Definition weight (e r : nat) : Z :=
  match surrogate x with None => scaled e r | Some (a, b) => a * scaled e r + b * size p e end.

Definition item_of (b : list nat) : item :=
  Item (length b) (map (fun r => (sum (fun e => weight e r) b, sum (fun e => value e r) b)) (seq 1 (replicas p))).

(** The weight that a rank of class [c] may hold; None where nothing limits it. *)
Definition limit (c : rank_class) : option Z :=
  let load_limit := scale_p x * T * speed c / scale_q x in
  match surrogate x, memory c with
  | None, _ => Some load_limit
  | Some (a, b), Some room => Some (a * load_limit + b * room)
  | Some (a, b), None => if b =? 0 then Some (a * load_limit) else None
  end.

(** No content is heavier than all items together, each with its heaviest option. *)
Definition heaviest (items : list item) : Z :=
  fold_right (fun i s => fold_right (fun o m => Z.max (fst o) m) 0 (options i) + s) 0 items.

Definition kept_within (c : rank_class) (cap : Z) (bs : list (list nat)) : bool :=
  let items := map item_of bs in
  within_cap (slots c) (full p) cap (match limit c with Some l => l | None => heaviest items end) items.

(** Condition 1: no content of a rank of class [c] is worth more than [cap]. *)
Definition check_class (c : rank_class) (cap : Z) : bool :=
  (0 <=? cap) && forallb (kept_within c cap) (leaving_out (apart d) (blocks d)).

Fixpoint check_caps (cs : list rank_class) (ys : list Z) : bool :=
  match cs, ys with
  | [], [] => true
  | c :: cs, y :: ys => check_class c y && check_caps cs ys
  | _, _ => false
  end.

Fixpoint demand (cs : list rank_class) (ys : list Z) : Z :=
  match cs, ys with c :: cs, y :: ys => Z.of_nat (ranks c) * y + demand cs ys | _, _ => 0 end.

(** The least that all replicas of [e] together are worth. *)
Definition supply (e : nat) : Z :=
  fold_right (fun r m => Z.min (Z.of_nat r * value e r) m) (value e 1) (seq 2 (replicas p - 1)).

Definition nonnegative (l : list Z) : bool := forallb (Z.leb 0) l.

Definition well_formed : bool :=
  nonnegative (loads p) && nonnegative (sizes p) && (1 <=? scale_p x) && (1 <=? scale_q x)
  && Nat.eqb (length (values x)) (experts p)
  && forallb (fun vs => Nat.eqb (length vs) (replicas p) && nonnegative vs) (values x)
  && match surrogate x with
     | None => true
     | Some (a, b) => (0 <=? a) && (0 <=? b) && Nat.eqb (length (sizes p)) (experts p)
     end.

(** Conditions 1 and 2 of docs/certificate.md, under the decisions of the splits above. *)
Definition check_prices : bool :=
  well_formed && (demand (classes p) (caps x) <? sum supply (seq 0 (experts p))) && check_caps (classes p) (caps x).
End Argument.

(** * Soundness *)

(** One rank's contents keep the decisions. *)
Definition keeps (d : decided) (S : contents) : Prop :=
  (forall b, In b (blocks d) -> forall e f, In e b -> In f b -> In e S -> In f S)
  /\ (forall a b, In (a, b) (apart d) -> ~ (In a S /\ In b S)).

(** Every expert is in one block. *)
Definition covers (p : problem) (d : decided) : Prop := Permutation (concat (blocks d)) (seq 0 (experts p)).

Definition respects (d : decided) (pl : placement) : Prop := Forall (Forall (keeps d)) pl.

Lemma nonnegative_nth l n : nonnegative l = true -> 0 <= nth n l 0.
Proof.
  unfold nonnegative. rewrite forallb_forall. intros H.
  destruct (lt_dec n (length l)) as [Hn|Hn]; [|rewrite nth_overflow; lia].
  apply Z.leb_le, H, nth_In, Hn.
Qed.

Lemma filter_all {A} (f : A -> bool) l : (forall y, In y l -> f y = true) -> filter f l = l.
Proof. induction l as [|y l IH]; simpl; intros H; [|rewrite H, IH]; auto. Qed.

Lemma filter_none {A} (f : A -> bool) l : (forall y, In y l -> f y = false) -> filter f l = [].
Proof. induction l as [|y l IH]; simpl; intros H; [|rewrite H, IH]; auto. Qed.

Definition inside (S : contents) (bs : list (list nat)) : list nat := filter (fun e => mem e S) (concat bs).

(** Experts of one block lie on the same ranks. *)
Definition whole (S : contents) (b : list nat) : Prop := forall e f, In e b -> In f b -> In e S -> In f S.

Lemma inside_cons S b bs : inside S (b :: bs) = filter (fun e => mem e S) b ++ inside S bs.
Proof. unfold inside. simpl. apply filter_app. Qed.

Lemma inside_drop S a bs : ~ In a S -> Forall (whole S) bs -> inside S (drop a bs) = inside S bs.
Proof.
  intros Ha. induction 1 as [|b bs Hb _ IH]; [reflexivity|]. simpl drop. rewrite inside_cons.
  destruct (mem a b) eqn:E; simpl negb; cbv iota; [|rewrite inside_cons]; rewrite IH; [|reflexivity].
  rewrite filter_none; [reflexivity|]. intros e He. apply not_true_is_false. rewrite mem_spec in *.
  intros HS. exact (Ha (Hb e a He E HS)).
Qed.

Lemma incl_drop a bs : incl (drop a bs) bs.
Proof. intros b Hb. apply filter_In in Hb. tauto. Qed.

Lemma leaving_out_covers S pairs : (forall a b, In (a, b) pairs -> ~ (In a S /\ In b S)) ->
  forall bs, Forall (whole S) bs -> exists ks, In ks (leaving_out pairs bs) /\ incl ks bs /\ inside S ks = inside S bs.
Proof.
  induction pairs as [|[a b] pairs IH]; intros HP bs HW; simpl.
  - exists bs. auto using incl_refl.
  - specialize (IH (fun a b H => HP a b (or_intror H))).
    destruct (existsb (mem a) bs && existsb (mem b) bs); [|apply IH, HW].
    assert (exists c, (c = a \/ c = b) /\ ~ In c S) as (c & Hc & HN).
    { destruct (in_dec Nat.eq_dec a S) as [Ha|Ha]; [exists b|exists a]; split; auto.
      intros Hb. exact (HP a b (or_introl eq_refl) (conj Ha Hb)). }
    destruct (IH (drop c bs)) as (ks & HI & HS & E).
    { apply Forall_forall. intros y Hy. rewrite Forall_forall in HW. apply HW, (incl_drop c), Hy. }
    exists ks. rewrite (inside_drop S c bs HN HW) in E. split; [|split; [|exact E]].
    + apply in_app_iff. destruct Hc as [->| ->]; auto.
    + eapply incl_tran; [exact HS|apply incl_drop].
Qed.

Lemma count_same (e f : nat) (rs : list contents) :
  Forall (fun S => NoDup S /\ (In e S <-> In f S)) rs -> count_occ Nat.eq_dec (concat rs) e = count_occ Nat.eq_dec (concat rs) f.
Proof.
  induction 1 as [|S rs [HD HI] _ IH]; simpl; [reflexivity|]. rewrite !count_occ_app, IH. f_equal.
  rewrite (NoDup_count_occ' Nat.eq_dec) in HD.
  destruct (in_dec Nat.eq_dec e S) as [He|He].
  - rewrite !HD; tauto.
  - rewrite !(proj1 (count_occ_not_In Nat.eq_dec S _)); tauto.
Qed.

Section Sound.
Variables (p : problem) (T : Z) (d : decided) (x : prices) (pl : placement).
Hypothesis HV : valid p pl.
Hypothesis HD : respects d pl.
Hypothesis HC : covers p d.
Hypothesis HX : well_formed p x = true.

(** Weight and value of an expert's replica in this placement. *)
Let weight_here (e : nat) : Z := weight p x e (copies pl e).
Let value_here (e : nat) : Z := value x e (copies pl e).

Lemma every_rank : Forall (fun S => NoDup S /\ keeps d S) (concat pl).
Proof.
  destruct HV as [H _]. clear - H HD. unfold respects in HD. revert HD.
  induction H as [|c held cs pls [_ HF] _ IH]; intros HD; simpl; [constructor|].
  inversion HD as [|? ? H1 H2]; subst. apply Forall_app. split; [|auto].
  clear - HF H1. induction HF as [|S held HS _ IH]; [constructor|]. inversion H1; subst.
  constructor; [split; [apply HS|assumption]|auto].
Qed.

Lemma block_copies b e f : In b (blocks d) -> In e b -> In f b -> copies pl e = copies pl f.
Proof.
  intros Hb He Hf. apply count_same. eapply Forall_impl; [|exact every_rank].
  intros S [HN [HB _]]. split; [assumption|]. split; apply (HB b Hb); assumption.
Qed.

Lemma block_expert b e : In b (blocks d) -> In e b -> (e < experts p)%nat.
Proof.
  intros Hb He. assert (H : In e (seq 0 (experts p))).
  { apply (Permutation_in e HC), in_concat. exists b. auto. }
  apply in_seq in H. lia.
Qed.

Lemma content_inside S bs : incl bs (blocks d) -> Forall (whole S) bs ->
  content (map (item_of p x) bs) (length (inside S bs)) (sum weight_here (inside S bs)) (sum value_here (inside S bs)).
Proof.
  intros HI. induction 1 as [|b bs Hb _ IH]; [constructor|]. simpl map. rewrite inside_cons.
  specialize (IH (fun y H => HI y (or_intror H))). assert (HB : In b (blocks d)) by (apply HI; left; reflexivity).
  rewrite app_length, !sum_app.
  destruct b as [|e0 b']; [apply without, IH|]. set (b := e0 :: b') in *.
  assert (H0 : In e0 b) by (left; reflexivity).
  destruct (in_dec Nat.eq_dec e0 S) as [He|He].
  - rewrite filter_all by (intros f Hf; apply mem_spec, (Hb e0 f); assumption).
    change (length b) with (count (item_of p x b)). apply including; [|exact IH].
    destruct HV as [_ HR]. specialize (HR e0 (block_expert b e0 HB H0)).
    apply in_map_iff. exists (copies pl e0). split; [|apply in_seq; lia].
    f_equal; apply sum_ext; intros f Hf; unfold weight_here, value_here; rewrite (block_copies b f e0); auto.
  - rewrite filter_none; [apply without, IH|]. intros f Hf. apply not_true_is_false. rewrite mem_spec.
    intros HS. exact (He (Hb f e0 Hf H0 HS)).
Qed.

Lemma inside_all S : NoDup S -> (forall e, In e S -> (e < experts p)%nat) -> Permutation (inside S (blocks d)) S.
Proof.
  intros HN HE. apply NoDup_Permutation; [|assumption|].
  - apply NoDup_filter. apply (Permutation_NoDup (Permutation_sym HC)), seq_NoDup.
  - intros e. unfold inside. rewrite filter_In, mem_spec. split; [tauto|]. intros He. split; [|assumption].
    apply (Permutation_in e (Permutation_sym HC)), in_seq. specialize (HE e He). lia.
Qed.

Lemma parts_nonneg :
  (forall e, 0 <= load p e) /\ (forall e, 0 <= size p e) /\ 1 <= scale_p x /\ 1 <= scale_q x
  /\ (forall e r, 0 <= value x e r)
  /\ match surrogate x with None => True | Some (a, b) => 0 <= a /\ 0 <= b end.
Proof.
  unfold well_formed in HX. rewrite !andb_true_iff in HX. destruct HX as [[[[[[H1 H2] H3] H4] _] H5] H6].
  apply Z.leb_le in H3, H4. repeat split; try assumption.
  - intros e. apply nonnegative_nth, H1.
  - intros e. apply nonnegative_nth, H2.
  - intros e r. apply nonnegative_nth. rewrite forallb_forall in H5.
    destruct (lt_dec e (length (values x))) as [He|He]; [|rewrite nth_overflow by lia; reflexivity].
    specialize (H5 _ (nth_In _ [] He)). apply andb_true_iff in H5. tauto.
  - destruct (surrogate x) as [[a b]|]; [|exact I]. rewrite !andb_true_iff in H6. destruct H6 as [[H6 H7] _].
    apply Z.leb_le in H6, H7. auto.
Qed.

Lemma weight_nonneg e r : 0 <= weight p x e r.
Proof.
  destruct parts_nonneg as (HL & HS & Hp & Hq & _ & Hs). specialize (HL e). specialize (HS e).
  assert (H : 0 <= scaled p x e r).
  { unfold scaled. destruct r; [rewrite Z.mul_0_r, Zdiv_0_r; lia|]. apply Z.div_pos; nia. }
  unfold weight. destruct (surrogate x) as [[a b]|]; nia.
Qed.

Lemma items_nonneg bs : Forall nonneg (map (item_of p x) bs).
Proof.
  apply Forall_forall. intros i Hi. apply in_map_iff in Hi as (b & <- & _). apply Forall_forall.
  intros o Ho. apply in_map_iff in Ho as (r & <- & _). simpl.
  split; apply sum_nonneg; intros; [apply weight_nonneg|apply parts_nonneg].
Qed.

Lemma content_heaviest items c w v : content items c w v -> w <= heaviest items.
Proof.
  induction 1 as [|i items c w v _ IH|i items c w v w' v' HI _ IH]; simpl; [lia| |].
  - assert (0 <= fold_right (fun o m => Z.max (fst o) m) 0 (options i)); [|lia].
    induction (options i); simpl; lia.
  - assert (w' <= fold_right (fun o m => Z.max (fst o) m) 0 (options i)); [|lia].
    induction (options i) as [|o l IHl]; simpl in *; [contradiction|]. destruct HI as [->|HI]; [simpl|specialize (IHl HI)]; lia.
Qed.

(** A rank that keeps the threshold, its slots and its memory keeps the weight limit. *)
Lemma weight_within c S : fits p c S -> (carried p pl S <= inject_Z (T * speed c))%Q ->
  match limit T x c with None => True | Some l => sum weight_here S <= l end.
Proof.
  intros (HN & HE & _ & HM) HQ. destruct parts_nonneg as (HL & HS & Hp & Hq & _ & Hs).
  assert (HW : sum (fun e => scaled p x e (copies pl e)) S <= scale_p x * T * speed c / scale_q x).
  { apply (scaled_within p pl); [lia|lia| |exact HQ]. intros e He. destruct HV as [_ HR]. apply HR, HE, He. }
  unfold limit, weight_here, weight. destruct (surrogate x) as [[a b]|]; [|exact HW].
  assert (HA : sum (fun e => a * scaled p x e (copies pl e) + b * size p e) S
            = a * sum (fun e => scaled p x e (copies pl e)) S + b * sum (size p) S).
  { rewrite sum_plus, !sum_scale. reflexivity. }
  rewrite HA. destruct (memory c) as [room|]; [nia|]. destruct (b =? 0) eqn:E; [|exact I].
  apply Z.eqb_eq in E. subst b. nia.
Qed.

(** Condition 1 holds for a rank of this placement. *)
Lemma class_sound c cap S : check_class p T d x c cap = true -> fits p c S -> keeps d S ->
  (full p = true -> length S = slots c) -> (carried p pl S <= inject_Z (T * speed c))%Q -> sum value_here S <= cap.
Proof.
  intros HK HF HS HE HQ. apply andb_true_iff in HK as [Hcap HK]. apply Z.leb_le in Hcap.
  destruct HS as [HB HA]. assert (HW : Forall (whole S) (blocks d)) by (apply Forall_forall; exact HB).
  destruct (leaving_out_covers S (apart d) HA (blocks d) HW) as (ks & HI & Hks & E).
  rewrite forallb_forall in HK. specialize (HK ks HI).
  assert (HWk : Forall (whole S) ks) by (apply Forall_forall; intros b Hb; exact (HB b (Hks b Hb))).
  pose proof (content_inside S ks Hks HWk) as HCt. rewrite E in HCt.
  pose proof (inside_all S (proj1 HF) (proj1 (proj2 HF))) as HP.
  rewrite (Permutation_length HP), !(sum_permutation _ _ _ HP) in HCt.
  eapply within_cap_sound; [exact HK|exact Hcap|apply items_nonneg|exact HCt|apply HF|exact HE|].
  pose proof (weight_within c S HF HQ) as HL. destruct (limit T x c); [exact HL|].
  eapply content_heaviest, HCt.
Qed.

Lemma supply_least e r : (1 <= r <= replicas p)%nat -> supply p x e <= Z.of_nat r * value x e r.
Proof.
  intros Hr. unfold supply. assert (H : r = 1%nat \/ In r (seq 2 (replicas p - 1))).
  { destruct (Nat.eq_dec r 1); [auto|right; apply in_seq; lia]. }
  clear Hr. induction (seq 2 (replicas p - 1)) as [|r' l IH]; simpl.
  - destruct H as [->|[]]. lia.
  - destruct H as [H|[->|H]]; [specialize (IH (or_introl H))| |specialize (IH (or_intror H))]; lia.
Qed.

(** Condition 2, left side: all replicas together are worth at least the supply. *)
Lemma supply_sound : sum (supply p x) (seq 0 (experts p)) <= sum value_here (concat (concat pl)).
Proof.
  rewrite (sum_count value_here (experts p) (concat (concat pl))) by (apply held_bounds; assumption).
  apply sum_le. intros e He. apply in_seq in He. destruct HV as [_ HR]. specialize (HR e ltac:(lia)).
  apply supply_least, HR.
Qed.

(** Condition 2, right side: all ranks together are worth at most the demand. *)
Lemma demand_sound : check_caps p T d x (classes p) (caps x) = true -> within p T pl ->
  sum value_here (concat (concat pl)) <= demand (classes p) (caps x).
Proof.
  intros HK HW. pose proof (fun HF => full_exact p pl HF HV) as HE.
  assert (G : forall cs rs,
    Forall2 (fun c held => length held = ranks c /\ Forall (fits p c) held) cs rs ->
    Forall2 (fun c held => Forall (fun S => (carried p pl S <= inject_Z (T * speed c))%Q) held) cs rs ->
    (full p = true -> Forall2 (fun c held => Forall (fun S => length S = slots c) held) cs rs) ->
    Forall (Forall (keeps d)) rs -> forall ys, check_caps p T d x cs ys = true ->
    sum value_here (concat (concat rs)) <= demand cs ys).
  2: { apply G; try assumption. apply HV. }
  clear HK HW HE. induction 1 as [|c held cs rs [HL HF] _ IH]; intros HW HE HS [|y ys] HK; try discriminate HK; [simpl; lia|].
  simpl in HK. apply andb_true_iff in HK as [HK HKs]. inversion HW as [|? ? ? ? HW1 HWs]; subst. inversion HS as [|? ? HS1 HSs]; subst.
  simpl concat. rewrite concat_app, sum_app. simpl demand.
  assert (HE1 : full p = true -> Forall (fun S => length S = slots c) held) by (intros Hf; specialize (HE Hf); inversion HE; assumption).
  assert (HEs : full p = true -> Forall2 (fun c held => Forall (fun S => length S = slots c) held) cs rs)
    by (intros Hf; specialize (HE Hf); inversion HE; assumption).
  specialize (IH HWs HEs HSs ys HKs).
  assert (H1 : sum value_here (concat held) <= Z.of_nat (length held) * y); [|rewrite HL in H1; lia].
  clear - HK HF HW1 HS1 HE1 HV HD HC HX weight_here value_here.
  induction held as [|S held IH]; simpl length; [simpl; lia|]. inversion HF; inversion HW1; inversion HS1; subst.
  simpl concat. rewrite sum_app. assert (sum value_here S <= y).
  { apply (class_sound c); try assumption. intros Hf. specialize (HE1 Hf). inversion HE1; assumption. }
  assert (sum value_here (concat held) <= Z.of_nat (length held) * y); [|lia].
  apply IH; try assumption. intros Hf. specialize (HE1 Hf). inversion HE1; assumption.
Qed.
End Sound.

Theorem check_prices_sound p T d x : check_prices p T d x = true -> covers p d ->
  forall pl, valid p pl -> respects d pl -> ~ within p T pl.
Proof.
  intros HK HC pl HV HD HW. unfold check_prices in HK. rewrite !andb_true_iff in HK. destruct HK as [[HX HS] HK].
  apply Z.ltb_lt in HS.
  pose proof (supply_sound p x pl HV). pose proof (demand_sound p T d x pl HV HD HC HX HK HW). lia.
Qed.

Lemma undecided_covers p : covers p (undecided p).
Proof.
  unfold covers, undecided; simpl. induction (seq 0 (experts p)) as [|e l IH]; simpl; [constructor|]. constructor. exact IH.
Qed.

Lemma undecided_respects p pl : respects (undecided p) pl.
Proof.
  apply Forall_forall. intros held _. apply Forall_forall. intros S _. split; [|intros a b []].
  intros b Hb e f He Hf. simpl in Hb. apply in_map_iff in Hb as (y & <- & _).
  destruct He as [<-|[]]; destruct Hf as [<-|[]]. auto.
Qed.

(** An accepted price argument refutes its threshold. *)
Theorem prices_sound p T x : check_prices p T (undecided p) x = true -> refuted p T.
Proof.
  intros HK pl HV. eapply check_prices_sound; [exact HK|apply undecided_covers|exact HV|apply undecided_respects].
Qed.
